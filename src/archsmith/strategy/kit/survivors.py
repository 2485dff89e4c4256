"""Populations that live on: what is told competes with the survivors, feasible designs before all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from archsmith.evaluation import Evaluation
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import Indices
from archsmith.strategy.kit.variation import Floats

Select = Callable[[Floats, int], Sequence[int] | NDArray[np.integer]]
"""Costs ``(n, m)`` in the box 0..1, and how many of them survive, fewer than ``n`` -> which."""


class Survivors:
    """The places in a history of at most ``size`` survivors.

    Everything told competes with them at once, asked for or not; what has failed never lives. The answer depends on
    the order of telling, as in every steady-state method.

    Args:
        history: of all that is known.
        size: how many may live.
        select: the method's own way to choose among feasible designs.
    """

    def __init__(self, history: RowHistory, size: int, select: Select) -> None:
        self._history = history
        self._size = size
        self._select = select
        self.places: Indices = np.zeros(0, dtype=np.intp)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Note evaluations in the history; then the best of survivors and newcomers live on."""
        history = self._history
        before = len(history.keys)
        changed = [e.architecture.key for e in history.tell(evaluations)]
        if not changed:
            return
        again = [history.keys.index(key) for key in changed if key in history.keys[:before]]
        pool = np.union1d(self.places, [*again, *range(before, len(history.keys))]).astype(np.intp)
        pool = pool[np.isfinite(history.costs[pool]).all(axis=1)]
        self.places = pool[_fittest(history.costs[pool], history.violations[pool], self._size, self._select)]

    def couples(self, n: int, rng: np.random.Generator) -> Indices:
        """Places of ``n`` pairs of parents ``(n, 2)``: winners of binary tournaments by violation, ties by chance."""
        drawn = rng.integers(0, len(self.places), (n, 2, 2))
        broken = self._history.violations[self.places[drawn]]
        second = broken[..., 1] < broken[..., 0]
        return self.places[np.where(second, drawn[..., 1], drawn[..., 0])]


def _fittest(costs: Floats, violations: Floats, size: int, select: Select) -> Indices:
    """Which rows of a pool survive, ascending: all feasible ones or a selection, then those that break least."""
    if len(costs) <= size:
        return np.arange(len(costs))
    feasible = np.flatnonzero(violations == 0)
    if len(feasible) > size:
        chosen = np.asarray(select(boxed(costs[feasible]), size), dtype=np.intp)
        return np.sort(feasible[chosen])
    infeasible = np.flatnonzero(violations > 0)
    order = infeasible[np.argsort(violations[infeasible], kind="stable")]
    return np.sort(np.concatenate([feasible, order[: size - len(feasible)]]))


def boxed(costs: Floats) -> Floats:
    """Costs ``(n, m)`` moved and scaled to 0..1 in each objective; 0 where one never changes."""
    span = np.ptp(costs, axis=0)
    scaled: Floats = (costs - costs.min(axis=0)) / np.where(span > 0, span, 1.0)
    return scaled
