"""Gaussian processes on graph features: of costs, limits and failures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archsmith.encoding.base import Encoding
from archsmith.encoding.one_hot import OneHot
from archsmith.encoding.weisfeiler_lehman import WeisfeilerLehman
from archsmith.predictor import Posterior
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.motif_process import KERNELS, Kernel, MotifProcess, best_kernel
from archsmith.strategy.kit.observations import learnt_from, limited
from archsmith.strategy.kit.scales import View, warped
from archsmith.strategy.kit.variation import Floats, Rows

KERNEL_DESIGNS = 150
"""Designs, the latest, that choose the kernel."""
SUCCESS_FLOOR = 0.02
"""Predicted probability of not failing: a failure is never certain."""


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


class GraphModels:
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

    def feasible_costs(self, view: View) -> Floats:
        """Costs under ``view`` of all feasible designs told, ``(h, m)``."""
        history = self._history
        costs: Floats = self._costs(view)[history.succeeded & (history.violations == 0)]
        return costs

    def posterior(self, rows: Rows, view: View) -> tuple[Posterior, Floats]:
        """What the models know of canonical ``rows (k, d)``; some evaluation has succeeded.

        Returns:
            The posterior of their costs under ``view``, and the logarithm of the probability that they succeed within
            all limits, ``(k,)``.
        """
        history, costs = self._history, self._costs(view)
        at = learnt_from(history, self._most)
        self._update(at, costs[at])
        x = self._vectors(rows)
        process, m = MotifProcess(self._x[at], self._kernel), costs.shape[1]
        limits = limited(history, at)
        shared = [known for known in limits if len(known.at) == len(at)]
        targets = [*costs[at].T, *(known.values for known in shared)]
        found = process.posterior(x, [process.fit(y) for y in targets])
        log_chance = found.columns(slice(m, None)).log_chance([known.bound for known in shared])
        for known in limits:
            if len(known.at) < len(at):
                apart = MotifProcess(self._x[at[known.at]], self._kernel)
                log_chance += apart.posterior(x, [apart.fit(known.values)]).log_chance([known.bound])
        if not history.succeeded.all():
            log_chance += np.log(self._succeeds(x))
        return found.columns(slice(m)), log_chance

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

    def _costs(self, view: View) -> Floats:
        """Of everything told, under ``view``, ``(n, m)``; infinite for failed ones."""
        history, ok = self._history, self._history.succeeded
        costs: Floats = np.full_like(history.costs, np.inf)
        costs[ok] = self._warped(history.costs[ok], view)
        return costs

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
            self._kernel = best_kernel(self._x[at[-KERNEL_DESIGNS:]], list(targets[-KERNEL_DESIGNS:].T))

    def _succeeds(self, x: Floats) -> Floats:
        """The probability that an evaluation does not fail, ``(k,)``."""
        learnt, ok = slice(-self._most, None), self._history.succeeded
        process = MotifProcess(self._x[learnt], self._kernel)
        mean = process.posterior(x, [process.fit(ok[learnt].astype(float))]).mean
        return np.clip(mean[:, 0], SUCCESS_FLOOR, 1.0)
