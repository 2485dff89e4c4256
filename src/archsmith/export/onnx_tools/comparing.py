"""How far the outputs of two networks differ that should be equal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archsmith.export.onnx_tools.by_position import named_tensors

TOLERANCE = 1e-4
"""Largest difference of two equal networks, as a share of the largest output: fp32 sums in another order."""


@dataclass(frozen=True)
class Difference:
    """Of two outputs.

    Args:
        absolute: the largest over all elements.
        relative: the same as a share of the largest expected element.
    """

    absolute: float
    relative: float

    @property
    def equal(self) -> bool:
        """Whether it is within ``TOLERANCE``."""
        return self.relative <= TOLERANCE


def difference(expected: Any, found: Any) -> Difference:
    """The largest over all tensors of two outputs; infinite where shapes, counts or non-finite values differ."""
    pairs = tensors(expected), tensors(found)
    if len(pairs[0]) != len(pairs[1]) or not pairs[0]:
        return Difference(math.inf, math.inf)
    apart = [_difference(a, b) for a, b in zip(*pairs, strict=True)]
    return Difference(max(d.absolute for d in apart), max(d.relative for d in apart))


def tensors(outputs: Any) -> list[Tensor]:
    """All tensors of an output, in a fixed order: of tuples, lists, mappings, dataclasses and what lies in them."""
    return [tensor for _, tensor in named_tensors(outputs)]


def _difference(a: Tensor, b: Tensor) -> Difference:
    a, b = a.detach().cpu().double(), b.detach().cpu().double()
    if a.shape != b.shape or not torch.equal(torch.isfinite(a), torch.isfinite(b)):
        return Difference(math.inf, math.inf)
    finite = torch.isfinite(a)
    if not torch.equal(a[~finite].nan_to_num(), b[~finite].nan_to_num()):
        return Difference(math.inf, math.inf)
    if not finite.any():
        return Difference(0.0, 0.0)
    absolute = float((a - b)[finite].abs().max())
    largest = float(a[finite].abs().max())
    return Difference(absolute, absolute / largest if largest else (0.0 if absolute == 0 else math.inf))
