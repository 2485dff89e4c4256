"""Everything runs; outputs, kernels and widths are mixed by their probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archsmith.errors import InvalidModel
from archsmith.method import Paper
from archsmith.running.mixing.base import Mixing, RelaxedCall
from archsmith.running.shadow import NO_COPY, Assignment, Program
from archsmith.running.weighted import Weighted
from archsmith.structure.axes import Axis, Kernel, Width
from archsmith.structure.blocks import Blocks, Branch
from archsmith.structure.choices import ChoiceModule
from archsmith.structure.policies import policy_named
from archsmith.structure.structure import Structure, policy_prefix, qualified


@final
class Sum(Mixing):
    """Every option runs, weighted by its probability; smaller kernels are added up, widths become expected masks.

    Outputs of choice modules are weighted as in DARTS; a block that can be left out is weighted against its input, a
    branch by the probability that it runs. Widths are masks on what reads them, as in FBNetV2 (Wan et al. 2020,
    arXiv:2004.05565), here the expected one.
    """

    paper = Paper(
        authors="Liu, Hanxiao and Simonyan, Karen and Yang, Yiming",
        title="DARTS: Differentiable Architecture Search",
        year=2019,
        venue="ICLR",
        arxiv="1806.09055",
    )
    draws = False

    def program(self, call: RelaxedCall) -> Program:
        """The program that computes everything mixed, again in each call."""
        if call.structure.resolution is not None:
            raise InvalidModel(
                f"{call.structure.resolution.name}: images of several sizes cannot be weighted by probabilities; use "
                "mixing='sampled_path', or elastic(...) without resolution="
            )
        return _Sum(call.model, call.structure, call.policy_tensors, call.probabilities)


class _Sum:
    """Everything runs; outputs, kernels and widths are mixed."""

    def __init__(
        self,
        model: nn.Module,
        structure: Structure,
        policy_tensors: Mapping[str, Tensor],
        probabilities: Mapping[str, Tensor],
    ) -> None:
        self._model, self._structure = model, structure
        self._policies, self._probabilities = policy_tensors, probabilities

    def assignments(self) -> list[Assignment]:
        found: list[Assignment] = []
        masks = {width: _mask(width, self._probabilities[width.choice]) for width in self._structure.widths}
        for name, declared in self._structure.declared.items():
            module = self._model.get_submodule(name)
            values: dict[str, Tensor] = {}
            if declared.kernel is not None:
                values["weight"] = self._superposed(name, declared.kernel, module.get_parameter("weight"))
            if declared.consumes is not None:
                tensor, dim = declared.consumes
                axis = declared.tensors[tensor][dim]
                if axis is not None and axis.widths:
                    weight = values.get(tensor, module.get_parameter(tensor))
                    mask = _axis_mask(axis, masks).to(weight)
                    values[tensor] = weight * mask.view(-1, *(1,) * (weight.ndim - dim - 1))
            found.append((module.__dict__, {**NO_COPY, **values}))
        for path, container in self._structure.containers.items():
            probabilities = self._probabilities[container.name]
            if isinstance(container, ChoiceModule):
                found.append((container.__dict__, {"_mixture": probabilities}))
            else:
                found += self._weighted(path, container, probabilities)
        return found

    def _weighted(self, path: str, container: Blocks | Branch, probabilities: Tensor) -> Iterator[Assignment]:
        """Modules that can be left out, each weighted against its stand-in."""
        inside = container.passing if isinstance(container, Blocks) else {"": container.passing}
        for child, passing in inside.items():
            module = self._model.get_submodule(qualified(path, child) if child else path)
            runs = probabilities[list(container.runs(child))].sum()
            passed = passing if isinstance(container, Blocks) else None
            yield module.__dict__, {"forward": Weighted(module.forward, runs, passed)}

    def _superposed(self, name: str, kernel: Kernel, weight: Tensor) -> Tensor:
        """The expected kernel: every smaller one, in the middle of the largest."""
        probabilities = self._probabilities[kernel.choice].to(weight)
        policy = policy_named(kernel.policy)
        mixed = probabilities[-1] * weight
        for p, size in zip(probabilities, kernel.options[:-1], strict=False):
            smaller = policy.apply(weight, policy.options(kernel, size, policy_prefix(name)), self._policies)
            border = (weight.shape[-1] - size) // 2
            mixed = mixed + p * F.pad(smaller, (border, border) * (weight.ndim - 2))
        return mixed

    def finish(self, assignments: Sequence[Assignment]) -> None:
        """Everything is a view or computed; nothing was copied."""

    def resume(self, assignments: Sequence[Assignment]) -> None:
        """Everything is a view or computed; nothing was copied."""


def _mask(width: Width, probabilities: Tensor) -> Tensor:
    """The probability that each unit is kept, ``(width.full,)``."""
    kept = torch.arange(width.full)[None] < torch.tensor(width.options)[:, None]  # [option, unit]
    return (kept.to(probabilities) * probabilities[:, None]).sum(0)


def _axis_mask(axis: Axis, masks: Mapping[Width, Tensor]) -> Tensor:
    """The probability that each position of an axis is kept, ``(axis.full,)``; atoms are independent."""
    some = next(iter(masks.values()))
    parts = []
    for segment in axis.segments:
        mask = some.new_ones(1)
        for factor in segment:
            units = some.new_ones(factor) if isinstance(factor, int) else masks[factor]
            mask = (mask[:, None] * units).flatten()
        parts.append(mask)
    return torch.cat(parts)
