"""Running a subnet: sliced views shadow the tensors of the untouched model for the length of one call.

``nn.Module`` looks a parameter up in its own ``__dict__`` before its parameters, so that an entry there is seen by
``forward`` and by nobody who asks for ``parameters()`` or ``state_dict()``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn

from archsmith.errors import InvalidModel
from archsmith.plan import Index, Plan, TensorPlan, positions
from archsmith.supernet._checkpoint import recomputable
from archsmith.supernet.choices import ChoiceModule
from archsmith.supernet.policies import policy_named

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
        viewed: whether the slice is a plain view, which can be used again while the tensor stays where it is.
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
        self.viewed = not self.picks and self.policy is None
        self._seen: tuple[Tensor, int, bool] | None = None
        self._view: Tensor | None = None

    def value(self) -> Tensor:
        """The slice, on the graph of the full tensor where gradients are recorded."""
        full: Tensor = self.source[self.name]
        if self.viewed and not (full.requires_grad and torch.is_grad_enabled()):
            return self._reused(full)
        return self._fresh(full)

    def _reused(self, full: Tensor) -> Tensor:
        """The view made before, if the tensor and its memory are still the same: views share later changes."""
        seen = self._seen
        inference = torch.is_inference_mode_enabled()
        if seen is not None and seen[0] is full and seen[1] == full.data_ptr() != 0 and seen[2] == inference:
            return self._view  # type: ignore[return-value]
        self._view = view = full[self.cut]
        if type(full) in {Tensor, nn.Parameter}:
            self._seen = (full, full.data_ptr(), inference)
        return view

    def _fresh(self, full: Tensor) -> Tensor:
        part = full[self.cut] if self.cut else full
        for dim, where in self.picks:
            part = part.index_select(dim, where.to(part.device))
        if self.policy is not None:
            policy, options = self.policy
            part = policy.apply(part, options, self.policy_tensors)
        return part

    def write_back(self, part: Tensor) -> None:
        """Copy an index set's values into the full buffer, if the module was training."""
        if not self.module.training:  # asked of the module: native batch norm bumps no version counter
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
    for dim, (kept, size) in enumerate(zip(index, shape, strict=True)):
        where = positions(kept, size)
        if kept is None:
            slices.append(slice(None))
        elif len(where) and int(where[-1]) - int(where[0]) == len(where) - 1:
            slices.append(slice(int(where[0]), int(where[-1]) + 1))
        else:
            slices.append(slice(None))
            picks.append((dim, torch.from_numpy(where)))
    while slices and slices[-1] == slice(None):
        slices.pop()
    return tuple(slices), picks


class PlanProgram:
    """A plan bound to the tensors of a model."""

    def __init__(self, model: nn.Module, plan: Plan, policy_tensors: Mapping[str, Tensor]) -> None:
        self.plan = plan
        modules: dict[str, tuple[nn.Module, Attributes, list[TensorSlot], dict[str, Tensor]]] = {}

        def entry(name: str) -> tuple[nn.Module, Attributes, list[TensorSlot], dict[str, Tensor]]:
            if name not in modules:
                modules[name] = (model.get_submodule(name), dict(NO_COPY), [], {})
            return modules[name]

        for name, attributes in plan.attributes.items():
            entry(name)[1].update(attributes)
        for name, tensor in plan.tensors.items():
            module, _, short = name.rpartition(".")
            if name not in plan.overrides:
                owner, _, slots, _ = entry(module)
                slots.append(TensorSlot(owner, short, tensor, policy_tensors))
        for name, array in plan.overrides.items():
            module, _, short = name.rpartition(".")
            entry(module)[3][short] = torch.from_numpy(array)
        for name, container in containers_in(plan, model):
            entry(name)[1]["_number"] = container.read(name, plan)
        self._entries = [(m, m.__dict__, static, slots, given) for m, static, slots, given in modules.values()]
        self._copied = [
            (m.__dict__, s) for m, _, _, slots, _ in self._entries for s in slots if s.is_buffer and s.picks
        ]

    def assignments(self) -> list[Assignment]:
        found = []
        for module, place, static, slots, given in self._entries:
            values = dict(static)
            for slot in slots:
                values[slot.name] = slot.value()
            for name, tensor in given.items():
                values[name] = _like(given, name, tensor, module._buffers[name])
            found.append((place, values))
        return found

    def finish(self, assignments: Sequence[Assignment]) -> None:
        if self._copied:
            with torch.no_grad():
                values = {id(place): given for place, given in assignments}
                for place, slot in self._copied:
                    slot.write_back(values[id(place)][slot.name])

    def resume(self, assignments: Sequence[Assignment]) -> None:
        if self._copied:
            with torch.no_grad():
                values = {id(place): given for place, given in assignments}
                for place, slot in self._copied:
                    values[id(place)][slot.name].copy_(slot.value())


def _like(given: dict[str, Tensor], name: str, tensor: Tensor, buffer: Tensor | None) -> Tensor:
    """An override on the device and in the type of its buffer; moved once."""
    if buffer is not None and (tensor.device != buffer.device or tensor.dtype != buffer.dtype):
        given[name] = tensor = tensor.to(device=buffer.device, dtype=buffer.dtype)
    return tensor


def containers_in(plan: Plan, model: nn.Module) -> Iterator[tuple[str, ChoiceModule]]:
    """The choice modules that a plan decides."""
    for name in (*plan.switches, *plan.depths, *plan.skipped):
        module = model.get_submodule(name)
        if isinstance(module, ChoiceModule):
            yield name, module


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
        """The model is the subnet of ``program`` inside the ``with``, and as found after it, whatever happens."""
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
                    with recomputable(self, program):
                        yield
                finally:
                    self._frames.pop()
                    frame.remove()
            finally:
                if outer is not None:
                    outer.apply()


_MISSING = object()


class _Frame:
    """The shadows of one call."""

    def __init__(self, model: nn.Module, program: Program) -> None:
        self.program = program
        self._assignments: Sequence[Assignment] = program.assignments()
        self._root = model.__dict__
        self._saved: list[tuple[Attributes, Attributes]] = []
        self._suspended = False

    def apply(self) -> None:
        if self._suspended:
            self.program.resume(self._assignments)
        saved = self._saved
        for place, values in (*self._assignments, (self._root, NO_COPY)):
            saved.append((place, {name: place.get(name, _MISSING) for name in values}))
            place.update(values)

    def remove(self) -> None:
        saved = self._saved
        while saved:
            place, before = saved.pop()
            for name, value in before.items():
                if value is _MISSING:
                    place.pop(name, None)
                else:
                    place[name] = value
        self._suspended = True
        self.program.finish(self._assignments)


def refuse_copy(_memo: Any = None) -> NoReturn:
    """What ``copy.deepcopy`` finds on a model during a call."""
    raise InvalidModel(
        "this model is running as a subnet: a copy would hold slices of its weights; copy it outside of the call, or "
        "take supernet.extract(architecture)"
    )


NO_COPY: Attributes = {"__deepcopy__": refuse_copy}
