"""A subnet as a network of its own: the same plan, applied to a copy."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from archsmith.plan import Plan
from archsmith.supernet._shadow import TensorSlot, dropped_children, remaining
from archsmith.supernet.choices import ChoiceModule


def extracted(
    model: nn.Module, plan: Plan, numbers: Mapping[str, int], policy_tensors: Mapping[str, Tensor]
) -> nn.Module:
    """A plain module in evaluation mode: stock classes and the user's own, slices materialised, no choice left.

    What deep copying would reach is put into its memo first, so that neither full-sized weights nor blocks that do
    not run are ever copied.

    Args:
        model: outside of any call.
        plan: with its overrides.
        numbers: option number by choice.
        policy_tensors: what the weight policies of the plan learn.
    """
    memo: dict[int, Any] = {}
    for name, tensor_plan in plan.tensors.items():
        owner, _, short = name.rpartition(".")
        module = model.get_submodule(owner)
        full = module._parameters.get(short, module._buffers.get(short))
        if full is not None and name not in plan.overrides and id(full) not in memo:
            with torch.no_grad():
                part = _dense(TensorSlot(module, short, tensor_plan, policy_tensors).value(), full)
            is_parameter = isinstance(full, nn.Parameter)
            memo[id(full)] = nn.Parameter(part, requires_grad=full.requires_grad) if is_parameter else part
    for name, array in plan.overrides.items():
        buffer = model.get_buffer(name)
        memo[id(buffer)] = torch.from_numpy(array.copy()).to(device=buffer.device, dtype=buffer.dtype)

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


def _dense(part: Tensor, full: Tensor) -> Tensor:
    """A copy with its own memory, in the memory format of the full tensor."""
    if full.ndim == 4 and not full.is_contiguous() and full.is_contiguous(memory_format=torch.channels_last):
        return part.clone(memory_format=torch.channels_last)
    return part.clone(memory_format=torch.contiguous_format)
