"""Small multi-layer perceptrons, several at once, trained in one thread and without touching a global generator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from archsmith.errors import InvalidOption, require
from archsmith.predictor._data import Array

if TYPE_CHECKING:
    from torch import Generator, Tensor

RANKING_WEIGHT = 20.0
"""Of the ranking loss beside the squared error."""
Rates = tuple[float, float]
"""The learning rate and the weight decay, per step and times the rate."""


def torch_for(predictor: str) -> ModuleType:
    """PyTorch.

    Raises:
        MissingExtra: naming the extra, where it is not installed.
    """
    return require("torch", extra="torch", purpose=f"the predictor {predictor}")


def at_least(name: str, value: int, least: int) -> int:
    """``value``, a whole number of at least ``least``.

    Raises:
        InvalidOption: naming the option and its rule.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidOption(f"{name}={value!r} is not a whole number of at least {least}")
    return value


@dataclass(frozen=True)
class Scaling:
    """Columns of encodings brought to mean 0 and variance 1; those that never vary become 0."""

    centre: Array
    factor: Array

    @classmethod
    def of(cls, x: Array) -> Scaling:
        """That of ``x (n, d)``."""
        spread = x.std(axis=0)
        flat = spread <= 1e-12 * np.maximum(1.0, np.abs(x).max(axis=0, initial=0.0))
        return cls(x.mean(axis=0), np.where(flat, 0.0, 1 / np.where(flat, 1.0, spread)))

    def __call__(self, x: Array) -> Array:
        # Far outside the data a network is meaningless; the clip keeps one wild column from ruling.
        return np.asarray(np.clip((np.asarray(x, dtype=float) - self.centre) * self.factor, -5.0, 5.0))


class Networks:
    """The weights of ``members`` perceptrons of one shape as a single vector, so that one step serves them all.

    Args:
        torch: the package.
        members: how many networks.
        widths: of the input, the hidden layers and the output.
        generator: of the first weights.
    """

    def __init__(self, torch: ModuleType, members: int, widths: Sequence[int], generator: Generator) -> None:
        self._torch = torch
        self._shapes = [(members, a + 1, b) for a, b in itertools.pairwise(widths)]
        parts = []
        for shape in self._shapes:
            layer = torch.randn(shape, generator=generator) * (2 / max(1, shape[1] - 1)) ** 0.5
            layer[:, -1] = 0.0  # the offsets
            parts.append(layer.reshape(-1))
        parts[-1] *= 0.3
        self.weights: Tensor = torch.cat(parts)

    @property
    def head(self) -> int:
        """How many of the last entries of :attr:`weights` belong to the output layer."""
        members, inputs, outputs = self._shapes[-1]
        return members * inputs * outputs

    def __call__(self, weights: Tensor, x: Tensor) -> Tensor:
        """Outputs ``(members, n, outputs)`` of ``x (n, d)`` or ``(members, n, d)``, under the given ``weights``."""
        h = x.expand(self._shapes[0][0], -1, -1) if x.ndim == 2 else x
        start = 0
        for i, shape in enumerate(self._shapes):
            size = shape[0] * shape[1] * shape[2]
            layer = weights[start : start + size].view(shape)
            start += size
            h = self._torch.baddbmm(layer[:, -1:], h, layer[:, :-1])
            if i + 1 < len(self._shapes):
                h = self._torch.nn.functional.silu(h)
        return h


class Adam:
    """Adam with decoupled weight decay on one vector, its rate falling to zero along a cosine.

    Args:
        torch: the package.
        size: of the vector.
        rates: learning rate and decay.
        steps: after which the rate is zero.
    """

    def __init__(self, torch: ModuleType, size: int, rates: Rates, steps: int) -> None:
        self._torch = torch
        self._first, self._second = torch.zeros(size), torch.zeros(size)
        self._rates, self._steps, self._done = rates, steps, 0

    def step(self, weights: Tensor, gradient: Tensor) -> Tensor:
        """The vector after one step."""
        rate = self._rates[0] * 0.5 * (1 + np.cos(np.pi * self._done / self._steps))
        self._done += 1
        self._first.lerp_(gradient, 0.1)
        self._second.lerp_(gradient * gradient, 0.01)
        scale = (self._second / (1 - 0.99**self._done)).sqrt_().add_(1e-8)
        move = self._first / (1 - 0.9**self._done) / scale
        moved: Tensor = weights * (1 - rate * self._rates[1]) - rate * move
        return moved


def minimise(
    torch: ModuleType,
    weights: Tensor,
    loss: Callable[[Tensor, int], Tensor],
    *,
    rates: Rates,
    steps: int,
) -> Tensor:
    """What ``weights`` become after ``steps`` on ``loss(weights, step)``."""
    adam = Adam(torch, len(weights), rates, steps)
    for step in range(steps):
        free = weights.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(free, step), free)
        weights = adam.step(weights, gradient)
    return weights


def ranking_loss(torch: ModuleType, scores: Tensor, target: Tensor, share: Tensor) -> Tensor:
    """How often, and by how much, pairs lie in the wrong order: softplus of the reversed difference.

    Args:
        torch: the package.
        scores: ``(members, n)``.
        target: ``(n,)``; pairs of equal target do not count.
        share: weight of each pair of target and member, ``(members, n)``.

    Returns:
        The sum over members of the weighted mean over pairs.
    """
    above = (target[:, None] > target[None, :]).to(scores.dtype) * share[:, :, None] * share[:, None, :]
    lost = torch.nn.functional.softplus(-4 * (scores[:, :, None] - scores[:, None, :])) / 4
    found: Tensor = ((lost * above).sum(dim=(1, 2)) / above.sum(dim=(1, 2)).clamp(min=1)).sum()
    return found
