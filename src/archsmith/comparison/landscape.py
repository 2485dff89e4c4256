"""Scaled costs of a problem, its best front, and how much of that front's hypervolume a search has found."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import InvalidOption
from archsmith.metric import Objective
from archsmith.pareto import hypervolume, is_non_dominated

Floats = NDArray[np.float64]

REFERENCE = 1.1
"""The reference point in every objective, for costs scaled to 0..1 over the table."""
LOGARITHMIC_SPAN = 10.0
"""Costs that span more than this factor are scaled logarithmically."""


@dataclass(frozen=True)
class Landscape:
    """The scale of a problem and its best front, from all known values.

    Args:
        objectives: ``m`` of them.
        logarithmic: which costs are replaced by their ``log10``, ``(m,)``.
        low: the smallest value of each cost, after that, ``(m,)``.
        span: largest minus smallest value, 1 where all are equal, ``(m,)``.
        front: the distinct points of the best front in scaled costs, ``(k, m)``.
        mean: the mean of each objective in its own unit, ``(m,)``.
        best: the best value of each objective in its own unit, ``(m,)``.
    """

    objectives: tuple[Objective, ...]
    logarithmic: NDArray[np.bool_]
    low: Floats
    span: Floats
    front: Floats
    mean: Floats
    best: Floats

    @classmethod
    def of(cls, values: Floats, objectives: Sequence[Objective]) -> Landscape:
        """The scale and front of ``values (n, m)``; rows with NaN are left out.

        Raises:
            InvalidOption: when every row has NaN.
        """
        whole = values[~np.isnan(values).any(axis=1)]
        if not len(whole):
            raise InvalidOption(f"no architecture has all of {', '.join(o.metric for o in objectives)}; choose others")
        plain = np.array([o.goal == "min" for o in objectives])
        logarithmic = plain & (whole.min(axis=0) > 0) & (whole.max(axis=0) > LOGARITHMIC_SPAN * whole.min(axis=0))
        signed = _signed(whole, objectives, logarithmic)
        low = signed.min(axis=0)
        span = np.where(np.ptp(signed, axis=0) > 0, np.ptp(signed, axis=0), 1.0)
        costs = (signed - low) / span
        front = np.unique(costs[is_non_dominated(costs)], axis=0)
        best = np.where(plain, whole.min(axis=0), whole.max(axis=0))
        return cls(tuple(objectives), logarithmic, low, span, front, whole.mean(axis=0), best)

    def costs(self, values: Floats) -> Floats:
        """``values (n, m)`` as scaled costs ``(n, m)``: 0 is the best of the table, 1 its worst.

        A row with NaN is a failed evaluation, and gets the worst cost in every objective.
        """
        scaled = (_signed(values, self.objectives, self.logarithmic) - self.low) / self.span
        scaled[np.isnan(scaled).any(axis=1)] = 1.0
        return scaled

    @cached_property
    def volume(self) -> float:
        """The hypervolume of the best front."""
        return hypervolume(self.front, np.full(len(self.objectives), REFERENCE))

    def shares(self, costs: Floats) -> Floats:
        """Hypervolume after each of ``costs (t, m)``, as a share of the best front's, ``(t,)``."""
        return np.asarray(hypervolume_curve(costs, np.full(len(self.objectives), REFERENCE)) / self.volume)

    @cached_property
    def _box(self) -> tuple[Floats, Floats, float]:
        low, high = self.front.min(axis=0), self.front.max(axis=0)
        if (high <= low).any():
            return low, high, 0.0
        return low, high, hypervolume((self.front - low) / (high - low), np.ones(len(low)))

    def box_shares(self, costs: Floats) -> Floats | None:
        """As :meth:`shares`, in the box between the best front's ideal and nadir points; the nadir is the reference.

        ``None`` where the front has no volume in that box: one point, or one objective.
        """
        low, high, volume = self._box
        if volume == 0:
            return None
        return np.asarray(hypervolume_curve((costs - low) / (high - low), np.ones(len(low))) / volume)

    def distances(self, costs: Floats) -> Floats:
        """IGD+ to the best front after each of ``costs (t, m)``, ``(t,)``."""
        short = np.maximum(costs[:, None, :] - self.front[None], 0.0)
        return np.asarray(np.minimum.accumulate(np.sqrt((short**2).sum(axis=2)), axis=0).mean(axis=1))


def _signed(values: Floats, objectives: Sequence[Objective], logarithmic: NDArray[np.bool_]) -> Floats:
    signed: Floats = values * np.array([1.0 if o.goal == "min" else -1.0 for o in objectives])
    signed[:, logarithmic] = np.log10(signed[:, logarithmic])
    return signed


def hypervolume_curve(costs: Floats, reference: Floats) -> Floats:
    """Hypervolume of the first 1, 2, ... rows of ``costs (t, m)`` within ``reference (m,)``: ``(t,)``.

    >>> hypervolume_curve(np.array([[1.0, 1.0], [0.0, 2.0], [2.0, 2.0]]), np.array([3.0, 3.0])).tolist()
    [4.0, 5.0, 5.0]
    """
    if costs.shape[1] == 1:
        return np.asarray(np.maximum(reference[0] - np.minimum.accumulate(costs[:, 0]), 0.0))
    if costs.shape[1] == 2:
        return _curve_of_two(costs, reference)
    held, front, out = 0.0, costs[:0], np.empty(len(costs))
    for i, point in enumerate(costs):
        if (point < reference).all() and not (front <= point).all(axis=1).any():
            front = np.concatenate([front[~(point <= front).all(axis=1)], point[None]])
            held = hypervolume(front, reference)
        out[i] = held
    return out


def _curve_of_two(costs: Floats, reference: Floats) -> Floats:
    """For two costs: the front is a staircase; a new point adds the area between itself and the steps it dominates."""
    right, top = float(reference[0]), float(reference[1])
    xs: list[float] = []
    ys: list[float] = []
    held, out = 0.0, np.empty(len(costs))
    for i, (x, y) in enumerate(costs.tolist()):
        at = bisect_left(xs, x)
        if at < len(xs) and xs[at] == x:
            at += 1  # a point with an equal first cost is to the left
        ceiling = ys[at - 1] if at else top
        if x < right and y < ceiling:
            start = at - 1 if at and xs[at - 1] == x else at
            ceiling = ys[start - 1] if start else top
            end, left, level = start, x, ceiling
            while end < len(xs) and ys[end] >= y:
                held += (xs[end] - left) * (level - y)
                left, level = xs[end], ys[end]
                end += 1
            held += ((xs[end] if end < len(xs) else right) - left) * (level - y)
            xs[start:end], ys[start:end] = [x], [y]
        out[i] = held
    return out


def evaluations_to(curve: Floats, level: float) -> int | None:
    """How many evaluations it took until ``curve (t,)`` reached ``level``; ``None`` where it did not.

    Shares of the best hypervolume may miss 1 by rounding, so ``level`` is lowered by 1e-9.

    >>> evaluations_to(np.array([0.2, 0.9, 0.95]), 0.9), evaluations_to(np.array([0.2]), 0.9)
    (2, None)
    """
    reached = curve >= level - 1e-9
    return int(np.argmax(reached)) + 1 if reached.any() else None
