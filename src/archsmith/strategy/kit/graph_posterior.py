"""What a Gaussian process on graph features believes of costs, limits and failures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archsmith.encoding.base import Encoding
from archsmith.encoding.one_hot import OneHot
from archsmith.encoding.weisfeiler_lehman import WeisfeilerLehman
from archsmith.metric import Limit
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.motif_process import KERNELS, Kernel, MotifProcess, best_kernel
from archsmith.strategy.kit.observations import learnt_from, limit_values
from archsmith.strategy.kit.scales import View, warped
from archsmith.strategy.kit.variation import Floats, Rows

TUNED_ON = 150
"""Designs, the latest, that choose the kernel."""
LEAST_CHANCE = 0.02
"""A failure is never certain."""


@dataclass(frozen=True)
class Motif:
    """A piece of architecture that a model found to matter.

    Args:
        name: of the feature: an operation, perhaps with what it reads and so on; or a choice's option.
        effect: mean change of the predicted objective by one more of it, in standard deviations of the (warped)
            measured values; positive helps, whatever the objective's direction.
        count: how many of the designs that were learnt from have it.
    """

    name: str
    effect: float
    count: int


@dataclass(frozen=True)
class Belief:
    """Predictions for some rows; costs are warped, so that dominance is the same.

    Args:
        base: warped costs of all feasible designs told, ``(h, m)``; none where there is none.
        mean: of the warped costs, ``(k, m)``.
        std: of the warped costs, ``(k, m)``.
        log_chance: logarithm of the probability to succeed and to be feasible, ``(k,)``.
    """

    base: Floats
    mean: Floats
    std: Floats
    log_chance: Floats


@dataclass(frozen=True)
class _Limited:
    """One limit with what was measured: where its metric is known, the values there, and the bound on their scale."""

    limit: Limit
    known: NDArray[np.bool_]
    values: Floats
    bound: float

    def log_holds(self, mean: Floats, std: Floats) -> Floats:
        """Logarithm of the probability that a predicted value keeps the bound, ``(k,)``."""
        from scipy.special import log_ndtr

        sign = 1.0 if self.limit.sense == "<=" else -1.0
        return np.asarray(log_ndtr(np.clip(sign * (self.bound - mean) / np.maximum(std, 1e-9), -1e6, 1e6)))


class GraphBeliefs:
    """The models of everything told in one search.

    Args:
        history: of the search.
        rounds: how far a motif reaches.
        every: evaluations between two choices of the kernel.
        most: evaluations that are learnt from.
    """

    def __init__(self, history: RowHistory, *, rounds: int, every: int, most: int) -> None:
        self._history, self._every, self._most = history, every, most
        space = history.space
        self._encoding: Encoding = (
            WeisfeilerLehman(space, rounds=rounds, written=True) if space.wiring else OneHot(space)
        )
        self._x = self._vectors(history.rows)
        self._kernel: Kernel = KERNELS[0]
        self._tuned = 0

    def believe(self, rows: Rows, view: View) -> Belief:
        """What is believed of canonical ``rows (k, d)``, with costs under ``view``; some designs are told."""
        history = self._history
        ok = history.succeeded
        costs: Floats = np.full_like(history.costs, np.inf)
        costs[ok] = self._warped(history.costs[ok], view)
        at = learnt_from(history, self._most)
        self._update(at, costs[at])
        x = self._vectors(rows)
        process = MotifProcess(self._x[at], self._kernel)
        limits = [_Limited(limit, *self._limited(limit, at)) for limit in history.limits]
        shared = [limited for limited in limits if limited.known.all()]
        targets = [*costs[at].T, *(limited.values for limited in shared)]
        mean, std = process.predict(x, [process.fit(y) for y in targets])
        m = costs.shape[1]
        log_chance = np.zeros(len(x))
        for j, limited in enumerate(shared, start=m):
            log_chance += limited.log_holds(mean[:, j], std[:, j])
        for limited in limits:
            if limited.known.any() and not limited.known.all():
                apart = MotifProcess(self._x[at[limited.known]], self._kernel)
                means, stds = apart.predict(x, [apart.fit(limited.values)])
                log_chance += limited.log_holds(means[:, 0], stds[:, 0])
        if not ok.all():
            log_chance += np.log(self._succeeds(x, ok))
        return Belief(costs[ok & (history.violations == 0)], mean[:, :m], std[:, :m], log_chance)

    def motifs(self, objective: int) -> list[Motif]:
        """The effect of each feature that some of the designs have, on the objective of that number."""
        history = self._history
        at = learnt_from(history, self._most)
        self._update(at, self._warped(history.costs[at], "ranks"))
        [y] = self._warped(history.costs[at], "ranks")[:, [objective]].T
        process = MotifProcess(self._x[at], self._kernel)
        effects = -process.slopes(process.fit(y))
        counts = (self._x[at] > 0).sum(axis=0)
        return [
            Motif(name, float(effect), int(count))
            for name, effect, count in zip(self._encoding.names, effects, counts, strict=True)
            if 0 < count < len(at)
        ]

    def _warped(self, costs: Floats, view: View) -> Floats:
        goals = [o.goal for o in self._history.objectives]
        return np.stack([warped(c, goal, view) for c, goal in zip(costs.T, goals, strict=True)], axis=1)

    def _vectors(self, rows: Rows) -> Floats:
        return np.asarray(self._encoding.encode(rows), dtype=float)

    def _update(self, at: NDArray[np.intp], targets: Floats) -> None:
        """Encode what is new; choose the kernel anew once enough is."""
        known = len(self._history.rows)
        if known > len(self._x):
            self._x = np.concatenate([self._x, self._vectors(self._history.rows[len(self._x) :])])
        if not self._tuned or known >= self._tuned + self._every:
            self._tuned = known
            self._kernel = best_kernel(self._x[at[-TUNED_ON:]], list(targets[-TUNED_ON:].T))

    def _limited(self, limit: Limit, at: NDArray[np.intp]) -> tuple[NDArray[np.bool_], Floats, float]:
        """Where the limited metric is known, its pessimistic ends there and the bound, as logarithms if positive."""
        places, y = limit_values(self._history, limit, at)
        known = np.zeros(len(at), dtype=bool)
        known[places] = True
        if len(y) and y.min() > 0 and limit.bound > 0:
            return known, np.log(y), float(np.log(limit.bound))
        return known, y, limit.bound

    def _succeeds(self, x: Floats, ok: NDArray[np.bool_]) -> Floats:
        """The probability that an evaluation does not fail, ``(k,)``."""
        learnt = slice(-self._most, None)
        process = MotifProcess(self._x[learnt], self._kernel)
        mean, _ = process.predict(x, [process.fit(ok[learnt].astype(float))])
        return np.clip(mean[:, 0], LEAST_CHANCE, 1.0)
