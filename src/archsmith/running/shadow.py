"""Running a subnet: sliced views shadow the tensors of the untouched model for the length of one call.

``nn.Module`` looks a parameter up in its own ``__dict__`` before its parameters, so ``forward`` sees an entry there,
while ``parameters()`` and ``state_dict()`` do not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn

from archsmith.errors import InvalidModel
from archsmith.plan import Index, Plan, TensorPlan
from archsmith.running.checkpointing import recomputable
from archsmith.structure.choices import ChoiceModule
from archsmith.structure.passing import ONE_TENSOR, zeros_in_place_of
from archsmith.structure.policies import policy_named
from archsmith.structure.resolution import Resizing

Attributes = dict[str, Any]
Assignment = tuple[Attributes, Attributes]
"""A module's ``__dict__`` and what to put there."""


class Program(Protocol):
    """What a call shadows."""

    def assignments(self) -> Sequence[Assignment]:
        """Fresh views for one call."""

    def finish(self, assignments: Sequence[Assignment]) -> None:
        """Write back what the call changed in copies."""

    def resume(self, assignments: Sequence[Assignment]) -> None:
        """Refresh copies after a nested call may have changed their originals."""


class TensorSlot:
    """One tensor of the model and how its slice is made.

    Attributes:
        viewed: whether the slice is a plain view, which shares later changes of the tensor's values.
    """

    def __init__(self, module: nn.Module, name: str, plan: TensorPlan, policy_tensors: Mapping[str, Tensor]) -> None:
        self.module, self.name = module, name
        held: Any = module._parameters if name in module._parameters else module._buffers
        self.source: dict[str, Tensor] = held
        self.is_buffer = self.source is module._buffers
        shape = self.source[name].shape
        self.cut, self.picks = _cut(plan.index, shape)
        self.policy = None if plan.policy is None else (policy_named(plan.policy.name), plan.policy.options)
        self.policy_tensors = policy_tensors
        self.viewed = not self.picks and (self.policy is None or self.policy[0].views)

    def value(self) -> Tensor:
        """The slice, on the graph of the full tensor where gradients are recorded."""
        part = self.source[self.name]
        if self.cut:
            part = part[self.cut]
        for dim, where in self.picks:
            part = part.index_select(dim, where.to(part.device))
        if self.policy is not None:
            policy, options = self.policy
            part = policy.apply(part, options, self.policy_tensors)
        return part

    def write_back(self, part: Tensor) -> None:
        """Copy an index set's values into the full buffer, if the module was training."""
        if not self.module.training:  # ask the module: native batch norm does not increase the version counter
            return
        full = self.source[self.name]
        grid = [torch.arange(n, device=full.device) for n in full[self.cut].shape]
        for dim, where in self.picks:
            grid[dim] = where.to(full.device)
        full[self.cut].index_put_(torch.meshgrid(*grid, indexing="ij"), part)


def _cut(index: Sequence[Index], shape: Sequence[int]) -> tuple[tuple[slice, ...], list[tuple[int, Tensor]]]:
    """Basic slices for prefixes and ranges, positions for the rest."""
    slices: list[slice] = []
    picks = []
    for dim, (kept, _) in enumerate(zip(index, shape, strict=True)):
        if kept is None:
            slices.append(slice(None))
        elif isinstance(kept, int):
            slices.append(slice(kept))
        elif kept and kept[-1] - kept[0] == len(kept) - 1:
            slices.append(slice(kept[0], kept[-1] + 1))
        else:
            slices.append(slice(None))
            picks.append((dim, torch.tensor(kept, dtype=torch.int64)))
    while slices and slices[-1] == slice(None):
        slices.pop()
    return tuple(slices), picks


class _Entry:
    """What a plan shadows in one module."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.place = module.__dict__
        self.static: Attributes = dict(NO_COPY)
        if isinstance(module, nn.RNNBase):  # it would collect the slices as its weights, and keep them
            self.static |= {name: list(vars(module)[name]) for name in ("_flat_weights", "_flat_weight_refs")}
        self.slots: list[TensorSlot] = []
        self.given: dict[str, Tensor] = {}

    def base(self) -> Attributes:
        """Everything that stays valid as long as the full tensors are not moved or replaced."""
        values = dict(self.static)
        values.update((slot.name, slot.value()) for slot in self.slots if slot.viewed)
        for name, tensor in self.given.items():
            buffer = self.module._buffers[name]
            values[name] = tensor if buffer is None else tensor.to(device=buffer.device, dtype=buffer.dtype)
        return values

    def watched(self) -> Iterator[tuple[dict[str, Any], str]]:
        """Where the tensors are stored that :meth:`base` depends on."""
        yield from ((slot.source, slot.name) for slot in self.slots if slot.viewed)
        yield from ((self.module._buffers, name) for name in self.given)


class PlanProgram:
    """A plan bound to the tensors of a model.

    Views are made once and reused until a full tensor is moved or replaced: a view shares changes of values. While
    gradients are recorded every call slices again, since each needs a graph of its own. Tensors without plain memory
    (subclasses, the meta device, ``torch.func``) are sliced in every call.
    """

    def __init__(self, model: nn.Module, plan: Plan, policy_tensors: Mapping[str, Tensor]) -> None:
        self.plan = plan
        entries: dict[str, _Entry] = {}

        def entry(name: str) -> _Entry:
            if name not in entries:
                entries[name] = _Entry(model.get_submodule(name))
            return entries[name]

        for name, attributes in plan.attributes.items():
            entry(name).static.update(attributes)
        for name, tensor in plan.tensors.items():
            owner, _, short = name.rpartition(".")
            if name not in plan.overrides:
                found = entry(owner)
                found.slots.append(TensorSlot(found.module, short, tensor, policy_tensors))
        for name, array in plan.overrides.items():
            owner, _, short = name.rpartition(".")
            entry(owner).given[short] = torch.from_numpy(array)
        for name, container in containers_in(plan, model):
            entry(name).static["_number"] = container.read(name, plan)
        if plan.inputs:
            entry("").static["forward"] = Resizing(model, plan.inputs)
        for name, children in dropped_children(plan, model).items():
            entry(name).static["_modules"] = remaining(model.get_submodule(name), children)
        self._entries = list(entries.values())
        self._computed = [(i, s) for i, e in enumerate(self._entries) for s in e.slots if not s.viewed]
        self._graded = [(i, s) for i, e in enumerate(self._entries) for s in e.slots if s.viewed and not s.is_buffer]
        self._geometry: list[tuple[Any, ...]] = []
        self._copied = [(i, s) for i, s in self._computed if s.is_buffer]
        self._base: list[Assignment] = []
        self._watched: list[tuple[dict[str, Any], str, Tensor, int]] | None = None
        self._inference = False

    def assignments(self) -> Sequence[Assignment]:
        """Views for one call; those of the last call where no full tensor was moved or replaced."""
        if not self._still():
            self._rebuild()
        recording = torch.is_grad_enabled() and self._watched is not None
        if not recording and not self._computed:
            return self._base
        found = [(place, dict(values)) for place, values in self._base]
        if recording:
            for (i, slot), geometry in zip(self._graded, self._geometry, strict=True):
                full = slot.source[slot.name]
                if full.requires_grad:  # one node of the graph, where slicing makes one for every dimension
                    found[i][1][slot.name] = full.as_strided(*geometry)
        for i, slot in self._computed:
            found[i][1][slot.name] = slot.value()
        return found

    def _still(self) -> bool:
        """Whether every full tensor is still the object, and in the memory, that the views were made from."""
        if self._watched is None or self._inference != torch.is_inference_mode_enabled():
            return False
        return all(source[name] is full and full.data_ptr() == where for source, name, full, where in self._watched)

    def _rebuild(self) -> None:
        held = [(source, name, source[name]) for entry in self._entries for source, name in entry.watched()]
        lasting = all(_has_memory(full) for _, _, full in held)
        with torch.no_grad() if lasting else nullcontext():
            self._base = [(entry.place, entry.base()) for entry in self._entries]
        views = [self._base[i][1][slot.name] for i, slot in self._graded]
        self._geometry = [(v.shape, v.stride(), v.storage_offset()) for v in views] if lasting else []
        self._inference = torch.is_inference_mode_enabled()
        self._watched = [(source, name, full, full.data_ptr()) for source, name, full in held] if lasting else None

    def finish(self, assignments: Sequence[Assignment]) -> None:
        """Write back what the call changed in copies of buffers."""
        if self._copied:
            with torch.no_grad():
                for i, slot in self._copied:
                    slot.write_back(assignments[i][1][slot.name])

    def resume(self, assignments: Sequence[Assignment]) -> None:
        """Refresh copies of buffers that a nested call may have changed."""
        if self._copied:
            with torch.no_grad():
                for i, slot in self._copied:
                    assignments[i][1][slot.name].copy_(slot.value())


def _has_memory(tensor: Tensor) -> bool:
    """Whether it is a plain tensor, rather than one of a subclass, of the meta device or inside ``torch.func``."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    return type(tensor) in {Tensor, nn.Parameter} and tensor.device.type != "meta" and not wrapped


def containers_in(plan: Plan, model: nn.Module) -> Iterator[tuple[str, ChoiceModule]]:
    """The choice modules that a plan decides."""
    for name in (*plan.switches, *plan.depths, *plan.skipped):
        module = model.get_submodule(name)
        if isinstance(module, ChoiceModule):
            yield name, module


def dropped_children(plan: Plan, model: nn.Module) -> dict[str, dict[str, Any]]:
    """Module -> those of its own modules that a plan leaves out; ``Optional`` modules stay and do nothing.

    Each comes with its place and stand-in for :func:`~archsmith.structure.passing.zeros_in_place_of`.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in plan.skipped:
        if not isinstance(model.get_submodule(name), ChoiceModule):
            container, _, child = name.rpartition(".")
            found.setdefault(container, {})[child] = plan.stand_ins.get(name, ONE_TENSOR)
    return found


def remaining(container: nn.Module, dropped: Mapping[str, Any]) -> dict[str, nn.Module | None]:
    """The modules of ``container`` without some of them.

    Lists are renumbered, as if they had been built shorter. Elsewhere a module that returns zeros takes the place.
    """
    modules = container._modules
    if isinstance(container, nn.ModuleList | nn.Sequential):
        kept = {name: module for name, module in modules.items() if name not in dropped}
        if all(name.isdecimal() for name in modules):
            return {str(i): module for i, module in enumerate(kept.values())}
        return kept
    return {n: zeros_in_place_of(*dropped[n]) if n in dropped else module for n, module in modules.items()}


class Shadow:
    """Shadows one model. One call at a time: other threads wait, nested calls suspend the one around them."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.lock = threading.RLock()
        self._frames: list[_Frame] = []

    @property
    def program(self) -> Program | None:
        """What is shadowed now; meaningful to the thread that runs it."""
        return self._frames[-1].program if self._frames else None

    @contextmanager
    def running(self, program: Program) -> Iterator[None]:
        """Inside the ``with`` the model is the subnet of ``program``; afterwards it is restored, also after errors."""
        with self.lock:
            outer = self._frames[-1] if self._frames else None
            if outer is not None and outer.program is program:
                yield  # re-entered while it runs: the same slices serve
                return
            if outer is not None:
                outer.remove()
            try:
                frame = _Frame(self.model, program)
                self._frames.append(frame)
                try:
                    frame.apply()
                    with recomputable(lambda: self.running(program)):
                        yield
                finally:
                    self._frames.pop()
                    frame.remove()
            finally:
                if outer is not None:
                    outer.apply()


class _Frame:
    """The shadows of one call."""

    def __init__(self, model: nn.Module, program: Program) -> None:
        self.program = program
        self._assignments: Sequence[Assignment] = program.assignments()
        self._root = model.__dict__
        self._saved: list[tuple[Attributes, Attributes, Attributes]] = []
        self._suspended = False

    def apply(self) -> None:
        if self._suspended:
            self.program.resume(self._assignments)
        saved = self._saved
        for place, values in (*self._assignments, (self._root, NO_COPY)):
            saved.append((place, values, {name: place[name] for name in values if name in place}))
            place.update(values)

    def remove(self) -> None:
        saved = self._saved
        while saved:
            place, values, before = saved.pop()
            for name in values:
                if name not in before:
                    place.pop(name, None)
            place.update(before)
        self._suspended = True
        self.program.finish(self._assignments)


def refuse_copy(_memo: Any = None) -> NoReturn:
    """What ``copy.deepcopy`` finds on a model during a call."""
    raise InvalidModel(
        "this model is running as a subnet: a copy would hold slices of its weights; copy it outside of the call, or "
        "take supernet.extract(architecture)"
    )


NO_COPY: Attributes = {"__deepcopy__": refuse_copy}
