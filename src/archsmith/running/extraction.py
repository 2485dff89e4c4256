"""A subnet as a network of its own: the same plan, applied to a copy."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from archsmith.plan import Plan
from archsmith.running.shadow import TensorSlot, dropped_children, remaining
from archsmith.structure.choices import ChoiceModule, Optional


def extracted(
    model: nn.Module, plan: Plan, numbers: Mapping[str, int], policy_tensors: Mapping[str, Tensor]
) -> nn.Module:
    """A plain module in evaluation mode: stock classes and the user's own, slices materialised, no choice left.

    The memo of the deep copy is filled first, so that neither full-sized weights nor blocks that do not run are copied.

    Args:
        model: not running at the moment.
        plan: with its overrides.
        numbers: option number by choice.
        policy_tensors: learned tensors of the plan's weight policies.
    """
    memo: dict[int, Any] = {}
    for full, part in _slices(model, plan, policy_tensors):
        dense = _dense(part, full)
        is_parameter = isinstance(full, nn.Parameter)
        memo[id(full)] = nn.Parameter(dense, requires_grad=full.requires_grad) if is_parameter else dense

    def copied(module: nn.Module) -> nn.Module:
        return copy.deepcopy(module, memo)

    for module in reversed(list(model.modules())):  # inner containers before those around them
        if isinstance(module, ChoiceModule):
            memo[id(module)] = module.plain(numbers[module.name], copied)
    dropped = dropped_children(plan, model)
    for name, children in dropped.items():
        memo |= {id(model.get_submodule(f"{name}.{c}" if name else c)): None for c in children}
    network = copied(model)
    for name, children in dropped.items():
        container = memo[id(model.get_submodule(name))]
        container.__dict__["_modules"] = remaining(container, children)
    for name, attributes in plan.attributes.items():
        memo[id(model.get_submodule(name))].__dict__.update(attributes)
    return network.eval()


@dataclass(frozen=True)
class Pieces:
    """The parts of a subnet, under the names that modules and tensors have in the extracted largest network.

    Args:
        tensors: parameters and buffers of the modules that run; views of the supernet's where possible.
        attributes: module -> attribute -> its value, where it differs from the largest network's.
        dropped: modules that are left out: their input passes through.
        silenced: modules that are replaced by one that returns zeros.
        switched: modules that differ from the largest network's.
    """

    tensors: Mapping[str, Tensor]
    attributes: Mapping[str, Mapping[str, Any]]
    dropped: tuple[str, ...]
    silenced: tuple[str, ...]
    switched: tuple[str, ...]


def pieces(model: nn.Module, plan: Plan, policy_tensors: Mapping[str, Tensor]) -> Pieces:
    """The parts of a subnet; see :class:`Pieces`."""
    dropped = [f"{n}.{i}" for n, d in plan.depths.items() for i in range(d, len(model.get_submodule(n)._modules))]
    silenced: list[str] = []
    for name in plan.skipped:
        parent = model.get_submodule(name.rpartition(".")[0])
        stands = isinstance(parent, nn.ModuleList | nn.Sequential) or isinstance(model.get_submodule(name), Optional)
        (dropped if stands else silenced).append(name)
    inside = [f"{n}.module." for n, m in model.named_modules() if isinstance(m, Optional)][::-1]

    def outside(name: str) -> str:
        for prefix in inside:  # the innermost first
            if name.startswith(prefix):
                name = prefix.removesuffix("module.") + name[len(prefix) :]
        return name

    sliced = {id(full): part for full, part in _slices(model, plan, policy_tensors)}
    without = tuple(f"{name}." for name in (*dropped, *silenced))
    tensors = {}
    for name, full in chain(
        model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    ):
        if not name.startswith(without):
            tensors[outside(name)] = sliced.get(id(full), full.detach())
    return Pieces(
        tensors,
        {outside(name): attributes for name, attributes in plan.attributes.items()},
        tuple(map(outside, dropped)),
        tuple(map(outside, silenced)),
        tuple(outside(name) for name, number in plan.switches.items() if number),
    )


def _slices(model: nn.Module, plan: Plan, policy_tensors: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Each tensor that a plan cuts or replaces, once, with its replacement."""
    seen: set[int] = set()
    for name, tensor_plan in plan.tensors.items():
        owner, _, short = name.rpartition(".")
        module = model.get_submodule(owner)
        full = module._parameters.get(short, module._buffers.get(short))
        if full is not None and name not in plan.overrides and id(full) not in seen:
            seen.add(id(full))
            with torch.no_grad():
                yield full, TensorSlot(module, short, tensor_plan, policy_tensors).value().detach()
    for name, array in plan.overrides.items():
        buffer = model.get_buffer(name)
        yield buffer, torch.from_numpy(array.copy()).to(device=buffer.device, dtype=buffer.dtype)


def _dense(part: Tensor, full: Tensor) -> Tensor:
    """A copy with its own memory, in the memory format of the full tensor."""
    if full.ndim == 4 and not full.is_contiguous() and full.is_contiguous(memory_format=torch.channels_last):
        return part.clone(memory_format=torch.channels_last)
    return part.clone(memory_format=torch.contiguous_format)
