"""The coupling law, tested in numbers: to permute units changes nothing, and to zero units is to drop them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from archsmith.discovery.tracing import fixed_outputs
from archsmith.graph.readers.kit.observing import Observer
from archsmith.graph.readers.kit.recorder import Inputs, slow_attention
from archsmith.running.shadow import PlanProgram, Shadow
from archsmith.structure.axes import Width
from archsmith.structure.blocks import Blocks, Branch
from archsmith.structure.passing import standing_in
from archsmith.structure.resolution import fitted
from archsmith.structure.structure import Structure
from archsmith.structure.units import reorder, zero_dropped

TOLERANCE = 1e-10
"""In double precision, relative to the largest output."""
TOLERANCE_SINGLE = 1e-4
"""Where a model computes in single precision whatever its inputs are."""


class Law:
    """The coupling law of one model.

    Args:
        model: a copy in double precision and evaluation mode; every check leaves it as it was.
        inputs: of one call, in double precision.
        structure: what is elastic in it.

    Attributes:
        tolerance: of the differences that its checks give.
    """

    def __init__(self, model: nn.Module, inputs: Inputs, structure: Structure) -> None:
        self._model, self._structure = model, structure
        self._tensors = [*model.parameters(), *model.buffers()]
        self._values = [t.detach().clone() for t in self._tensors]
        self._shadow = Shadow(model)
        self._inputs = inputs
        with _Precision() as precision:
            self._expected = self._outputs()
        self.tolerance = TOLERANCE if precision.double else TOLERANCE_SINGLE

    def at_smaller_images(self) -> Iterator[Law]:
        """The law at the smallest size of images, where that is a choice."""
        if (resolution := self._structure.resolution) is not None:
            sizes = {resolution.place: resolution.size(0)}
            names = list(self._inputs[1])
            inputs = fitted(sizes, self._inputs[0], names), fitted(sizes, self._inputs[1], names)
            yield Law(self._model, inputs, self._structure)

    def _outputs(self) -> list[Tensor]:
        with torch.no_grad(), torch.random.fork_rng(), slow_attention():
            torch.manual_seed(0)
            outputs = self._model(*self._inputs[0], **self._inputs[1])
        return [t for t in fixed_outputs(outputs) if t.is_floating_point()]

    def culprits(self, widths: Sequence[Width], gap: Callable[[Sequence[Width]], float]) -> list[tuple[Width, float]]:
        """The atoms whose law does not hold, found by halving."""
        if not widths:
            return []
        whole = gap(widths)
        if whole <= self.tolerance:
            return []
        if len(widths) == 1:
            return [(widths[0], whole)]
        half = len(widths) // 2
        return [*self.culprits(widths[:half], gap), *self.culprits(widths[half:], gap)]

    def permuted(self, widths: Sequence[Width]) -> float:
        """The largest difference of the outputs when the units of ``widths`` are put in another order."""
        rng = np.random.default_rng(0)
        with self._restored():
            reorder(self._model, self._structure.declared, {w: rng.permutation(w.full) for w in widths})
            return _gap(self._outputs(), self._expected)

    def smaller(self, widths: Sequence[Width], blocks: Sequence[tuple[str, Blocks | Branch]]) -> float:
        """The largest difference between leaving units and blocks out, and zeroing units and passing inputs on.

        Atoms that share a choice are dropped together.
        """
        choices = {w.choice for w in widths}
        alike = {w: w.options[0] for w in self._structure.widths if w.choice in choices}
        numbers = self._structure.numbers(self._structure.space.largest())
        numbers |= dict.fromkeys([*choices, *(b.name for _, b in blocks)], 0)
        with self._shadow.running(PlanProgram(self._model, self._structure.plan(numbers), {})):
            dropped = self._outputs()
        passing = {
            f"{path}.{child}" if path else child: standing_in(*b.passing[child], _unchanged)
            for path, b in blocks
            if isinstance(b, Blocks)
            for child in b.dropped(0)
        }
        passing |= {path: standing_in(*b.passing, torch.zeros_like) for path, b in blocks if isinstance(b, Branch)}
        with self._restored():
            zero_dropped(self._model, self._structure.declared, alike)
            try:
                for name, forward in passing.items():
                    self._model.get_submodule(name).__dict__["forward"] = forward
                return _gap(self._outputs(), dropped)
            finally:
                for name in passing:
                    self._model.get_submodule(name).__dict__.pop("forward", None)

    @contextmanager
    def _restored(self) -> Iterator[None]:
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(self._tensors, self._values, strict=True):
                    tensor.copy_(value)


class _Precision(Observer):  # type: ignore[no-untyped-call]
    """Watches whether everything is computed in double precision; some models cast to other types."""

    def __init__(self) -> None:
        super().__init__()
        self.double = True

    def seen(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:  # noqa: ARG002
        if isinstance(result, Tensor) and result.is_floating_point() and result.dtype != torch.float64:
            self.double = False


def _unchanged(stream: Tensor) -> Tensor:
    return stream


def _gap(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference relative to the largest output; infinite for other shapes."""
    worst = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        if ours.shape != theirs.shape:
            return float("inf")
        if ours.numel():
            scale = float(theirs.abs().max().clamp_min(1e-300))
            worst = max(worst, float((ours - theirs).abs().max()) / scale)
    return float("inf") if math.isnan(worst) else worst
