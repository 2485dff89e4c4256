"""What the default strategy believes: Gaussian processes on choices, graph features and free metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from archsmith.encoding.base import Encoding
from archsmith.encoding.thermometer import Thermometer
from archsmith.predictor.choice_gaussian_process import FEATURE, ChoiceGaussianProcess
from archsmith.strategy._evolution import Floats, Rows, constrained_ranks
from archsmith.strategy._ledger import RowLedger
from archsmith.strategy._trend import Trend, is_additive
from archsmith.strategy._views import View, warped

FIRST_STEPS, LATER_STEPS = 30, 8
"""Of the optimiser of hyper-parameters."""
TUNE_EVERY = 4
"""Pairs more, at least, before hyper-parameters are tuned again."""
LEAST_CHANCE = 0.01
"""Of not failing: a model of failures that were never seen elsewhere is not sure."""
LEAST_SPREAD = 1e-9
"""Standard deviation of what never changed."""
REMEMBERED = 100_000
"""Encodings that are kept."""


@dataclass
class _Tuned:
    """A process, how many pairs it had when it was last tuned, and whether what it learns was found to add up then."""

    process: ChoiceGaussianProcess
    pairs: int = 0
    additive: bool = False

    def is_due(self, pairs: int) -> bool:
        """Whether it is to be tuned to so many pairs: first, and after every eighth part more."""
        return not self.pairs or pairs >= self.pairs + max(TUNE_EVERY, self.pairs // 8)


@dataclass(frozen=True)
class Belief:
    """The fitted state of one moment.

    Args:
        rows: learnt from, ``(n, d)``, successful ones.
        costs: theirs on the scale of the view, ``(n, m)``.
        violations: theirs, ``(n,)``.
        processes: one an objective, of what its trend leaves.
        trends: of the objectives that are costs, which add up over a network.
        bounds: for each limit a process, the bound on its scale and the sign that makes "at most" of it.
        failing: predicts failure, where there was one.
    """

    rows: Rows
    costs: Floats
    violations: Floats
    processes: Sequence[ChoiceGaussianProcess]
    trends: Sequence[Trend | None]
    bounds: Sequence[tuple[ChoiceGaussianProcess, float, float]]
    failing: ChoiceGaussianProcess | None

    @property
    def skill(self) -> float:
        """The least, over the objectives, of the share of variance explained in predictions of left-out pairs."""
        spreads = self.costs.var(axis=0)
        missed = [p.left_out for p in self.processes]
        return min(1 - m / s if s > 0 else 1.0 for m, s in zip(missed, spreads, strict=True))

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the costs of encodings ``x (k, w)``, ``(k, m)`` each."""
        found = [process.predict(x) for process in self.processes]
        means = [
            mean if trend is None else mean + trend(x) for (mean, _), trend in zip(found, self.trends, strict=True)
        ]
        spreads = np.stack([std for _, std in found], axis=1)
        return np.stack(means, axis=1), np.maximum(spreads, LEAST_SPREAD)

    def log_chance(self, x: Floats) -> Floats:
        """Logarithm of the predicted probability of success within all limits, ``(k,)``."""
        from scipy.special import log_ndtr

        chance = np.zeros(len(x))
        for process, bound, sign in self.bounds:
            mean, std = process.predict(x)
            chance += log_ndtr(sign * (bound - mean) / np.maximum(std, LEAST_SPREAD))
        if self.failing is not None:
            chance += np.log(np.clip(1.0 - self.failing.predict(x)[0], LEAST_CHANCE, 1.0))
        return chance


@dataclass
class Surrogate:
    """Encodes rows, keeps hyper-parameters between fits, and gives a belief after each answer.

    Args:
        ledger: of the search.
        encodings: beside the codes of the choices: graph features, free metrics.
        most: evaluations that are learnt from at most, the best ones.
    """

    ledger: RowLedger
    encodings: Sequence[Encoding]
    most: int
    _tuned: dict[tuple[str, ...], _Tuned] = field(default_factory=dict)
    _seen: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._codes = Thermometer(self.ledger.space)
        width = len(self._codes.names) + sum(len(e.names) for e in self.encodings)
        self._groups = np.full(width, FEATURE)
        self._groups[: len(self._codes.groups)] = self._codes.groups
        self._vectors = np.zeros((0, width), dtype=np.float32)

    def encode(self, rows: Rows) -> Floats:
        """Encodings ``(k, w)`` of canonical rows; those met before are remembered."""
        names = [row.tobytes() for row in rows]
        new = [i for i, name in enumerate(names) if name not in self._seen]
        if len(self._vectors) + len(new) > REMEMBERED:
            self._seen, self._vectors = {}, self._vectors[:0]
            new = list(range(len(rows)))
        if new:
            fresh = rows[new]
            parts = [self._codes.encode(fresh), *(e.encode(fresh) for e in self.encodings)]
            self._seen |= {names[i]: len(self._vectors) + k for k, i in enumerate(new)}
            self._vectors = np.concatenate([self._vectors, np.column_stack(parts)])
        return np.asarray(self._vectors[[self._seen[name] for name in names]])

    def belief(self, view: View) -> Belief:
        """Fit to everything told; at least one evaluation has succeeded."""
        ledger = self.ledger
        ok = np.flatnonzero(np.isfinite(ledger.costs).all(axis=1))
        if len(ok) > self.most:
            order = np.argsort(constrained_ranks(ledger.costs[ok], ledger.violations[ok]), kind="stable")
            ok = np.sort(ok[order[: self.most]])
        evaluations = ledger.evaluations
        rows, told = ledger.rows[ok], [evaluations[i] for i in ok]
        x = self.encode(rows)
        goals = [o.goal for o in ledger.objectives]
        costs = np.stack([warped(c, g, view) for c, g in zip(ledger.costs[ok].T, goals, strict=True)], axis=1)
        trends = [
            self._trend((view, str(j)), x, raw, y) if goal == "min" else None
            for j, (raw, y, goal) in enumerate(zip(ledger.costs[ok].T, costs.T, goals, strict=True))
        ]
        left = [y if trend is None else y - trend(x) for y, trend in zip(costs.T, trends, strict=True)]
        processes = [self._fitted((view, str(j)), x, y) for j, y in enumerate(left)]
        bounds = []
        for limit in ledger.limits:
            known = [i for i, e in enumerate(told) if limit.metric in e.values]
            if known:
                # The pessimistic end of each measured interval, as the limit itself is judged.
                ends = [told[i].values[limit.metric] for i in known]
                values = np.array([v.high if limit.sense == "<=" else v.low for v in ends])
                logarithmic = bool(values.min() > 0 and limit.bound > 0)
                process = self._fitted(("limit", str(limit)), x[known], np.log(values) if logarithmic else values)
                bound = float(np.log(limit.bound)) if logarithmic else limit.bound
                bounds.append((process, bound, 1.0 if limit.sense == "<=" else -1.0))
        return Belief(rows, costs, ledger.violations[ok], processes, trends, bounds, self._failing())

    def _failing(self) -> ChoiceGaussianProcess | None:
        failed = np.asarray(~np.isfinite(self.ledger.costs).all(axis=1))
        if not failed.any():
            return None
        latest = slice(-self.most, None)
        return self._fitted(("failing",), self.encode(self.ledger.rows[latest]), failed[latest].astype(float))

    def _trend(self, name: tuple[str, ...], x: Floats, raw: Floats, y: Floats) -> Trend | None:
        """The trend of this name where left-out costs follow it, which is asked whenever its process is tuned."""
        tuned = self._known(name)
        if tuned.is_due(len(y)):
            tuned.additive = is_additive(x, raw, y)
        return Trend(x, raw, y) if tuned.additive else None

    def _known(self, name: tuple[str, ...]) -> _Tuned:
        if name not in self._tuned:
            self._tuned[name] = _Tuned(ChoiceGaussianProcess(groups=self._groups.tolist()))
        return self._tuned[name]

    def _fitted(self, name: tuple[str, ...], x: Floats, y: Floats) -> ChoiceGaussianProcess:
        """The process of this name, conditioned on ``x`` and ``y``, and tuned to them where that is due."""
        tuned = self._known(name)
        if tuned.is_due(len(y)):
            tuned.process.retune(x, y, LATER_STEPS if tuned.pairs else FIRST_STEPS)
            tuned.pairs = len(y)
        else:
            tuned.process.condition(x, y)
        return tuned.process
