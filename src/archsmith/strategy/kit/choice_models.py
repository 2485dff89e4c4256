"""The models of the default strategy: Gaussian processes on choices, graph features and free metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from archsmith.encoding.base import Encoding
from archsmith.encoding.thermometer import Thermometer
from archsmith.predictor import LEAST_STD, Bound, Posterior
from archsmith.predictor.choice_gaussian_process import FEATURE, ChoiceGaussianProcess, Frame, posterior_together
from archsmith.strategy.kit.history import RowHistory, row_names
from archsmith.strategy.kit.observations import learnt_from, limited
from archsmith.strategy.kit.scales import View, warped
from archsmith.strategy.kit.trend import Line, Trend, best_line
from archsmith.strategy.kit.variation import Floats, Rows

FIRST_STEPS, LATER_STEPS = 30, 4
"""Of the optimiser of hyper-parameters."""
TUNE_EVERY = 4
"""Evaluations, at least, between two tunings of hyper-parameters."""
LEAST_SUCCESS = 0.01
"""Predicted probability of not failing: a model of failures that were never seen elsewhere is not sure."""
ENCODINGS_KEPT = 100_000
"""Encodings that are kept."""


@dataclass
class _Tuned:
    """A process, how much was told when it was last tuned, and the line that its values followed then."""

    process: ChoiceGaussianProcess
    told: int = 0
    line: Line | None = None

    def is_due(self, told: int) -> bool:
        """Whether to tune it when ``told`` are known: at first, and whenever an eighth more has come."""
        return not self.told or told >= self.told + max(TUNE_EVERY, self.told // 8)


@dataclass(frozen=True)
class FittedModels:
    """The models of one moment.

    Args:
        rows: learnt from, ``(n, d)``, successful ones.
        costs: theirs on the scale of the view, ``(n, m)``.
        violations: theirs, ``(n,)``.
        processes: one an objective, of what its trend leaves.
        trends: of the objectives that are costs, which add up over a network.
        bounds: for each limited metric that was measured a process, and the bound on its scale.
        failing: predicts failure, where there was one.
    """

    rows: Rows
    costs: Floats
    violations: Floats
    processes: Sequence[ChoiceGaussianProcess]
    trends: Sequence[Trend | None]
    bounds: Sequence[tuple[ChoiceGaussianProcess, Bound]]
    failing: ChoiceGaussianProcess | None

    @property
    def skill(self) -> float:
        """The least, over the objectives, of the share of variance explained in predictions of left-out pairs."""
        spreads = self.costs.var(axis=0)
        missed = [p.left_out for p in self.processes]
        return min(1 - m / s if s > 0 else 1.0 for m, s in zip(missed, spreads, strict=True))

    def posterior(self, x: Floats) -> Posterior:
        """Of the costs of encodings ``x (k, w)``."""
        left = posterior_together(self.processes, x)
        trends = [np.zeros(len(x)) if trend is None else trend(x) for trend in self.trends]
        return replace(left, mean=left.mean + np.stack(trends, axis=1), std=np.maximum(left.std, LEAST_STD))

    def log_chance(self, x: Floats) -> Floats:
        """Logarithm of the predicted probability of success within all limits, ``(k,)``."""
        chance: Floats = np.zeros(len(x))
        if self.bounds:
            processes, bounds = zip(*self.bounds, strict=True)
            chance = posterior_together(processes, x).log_chance(bounds)
        if self.failing is not None:
            chance += np.log(np.clip(1.0 - self.failing.predict(x)[0], LEAST_SUCCESS, 1.0))
        return chance


@dataclass
class ChoiceModels:
    """Encodes rows, keeps hyper-parameters between fits, and fits models to what was told so far.

    Args:
        history: of the search.
        encodings: beside the codes of the choices: graph features, free metrics.
        most: evaluations that are learnt from at most: the best ones and, as many, the latest ones.
    """

    history: RowHistory
    encodings: Sequence[Encoding]
    most: int
    _tuned: dict[tuple[str, ...], _Tuned] = field(default_factory=dict)
    _seen: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._codes = Thermometer(self.history.space)
        width = len(self._codes.names) + sum(len(e.names) for e in self.encodings)
        self._groups = np.full(width, FEATURE)
        self._groups[: len(self._codes.groups)] = self._codes.groups
        self._alike = np.full(width, -1)
        self._alike[: len(self._codes.alike)] = self._codes.alike
        self._vectors = np.zeros((0, width), dtype=np.float32)

    def encode(self, rows: Rows) -> Floats:
        """Encodings ``(k, w)`` of canonical rows; those met before are remembered."""
        names, seen = row_names(rows), self._seen
        new = {name: i for i, name in enumerate(names) if name not in seen}
        if len(seen) + len(new) > ENCODINGS_KEPT:
            seen.clear()
            new = {name: i for i, name in enumerate(names)}
        if new:
            fresh, start = rows[list(new.values())], len(seen)
            self._make_room(start + len(new))
            parts = [self._codes.encode(fresh), *(e.encode(fresh) for e in self.encodings)]
            self._vectors[start : start + len(new)] = np.column_stack(parts)
            seen |= {name: start + k for k, name in enumerate(new)}
        return np.asarray(self._vectors[[seen[name] for name in names]])

    def _make_room(self, n: int) -> None:
        """For ``n`` encodings: the array doubles, so that copying stays linear in their number."""
        if n > len(self._vectors):
            grown = np.zeros((max(n, 2 * len(self._vectors)), self._vectors.shape[1]), dtype=np.float32)
            grown[: len(self._vectors)] = self._vectors
            self._vectors = grown

    def fitted(self, view: View) -> FittedModels:
        """The models of what was told; at least one evaluation has succeeded."""
        history = self.history
        at = learnt_from(history, self.most)
        rows, raw = history.rows[at], history.costs[at]
        x = self.encode(rows)
        frame = Frame(x, self._groups)
        goals = [o.goal for o in history.objectives]
        costs = np.stack([warped(c, g, view) for c, g in zip(raw.T, goals, strict=True)], axis=1)
        trends = [
            self._trend((view, str(j)), frame, x, raw[:, j], costs[:, j]) if goal == "min" else None
            for j, goal in enumerate(goals)
        ]
        left = [y if trend is None else y - trend(x) for y, trend in zip(costs.T, trends, strict=True)]
        processes = [self._fitted((view, str(j)), frame, y) for j, y in enumerate(left)]
        bounds = []
        for known in limited(history, at):
            own = frame if len(known.at) == len(at) else Frame(x[known.at], self._groups)
            bounds.append((self._fitted(("limit", str(known.limit)), own, known.values), known.bound))
        return FittedModels(rows, costs, history.violations[at], processes, trends, bounds, self._failing())

    def is_due(self, view: View) -> bool:
        """Whether fitting for this view would tune anything; where it would not, it leaves nothing behind."""
        names: list[tuple[str, ...]] = [(view, str(j)) for j in range(len(self.history.objectives))]
        if not self.history.succeeded.all():
            names.append(("failing",))
        for limit in self.history.limits:
            name = ("limit", str(limit))
            if name in self._tuned or any(limit.metric in e.values for e in self.history.told.values()):
                names.append(name)
        return any(self._known(name).is_due(len(self.history.keys)) for name in names)

    def _failing(self) -> ChoiceGaussianProcess | None:
        failed = ~self.history.succeeded
        if not failed.any():
            return None
        latest = slice(-self.most, None)
        frame = Frame(self.encode(self.history.rows[latest]), self._groups)
        return self._fitted(("failing",), frame, failed[latest].astype(float))

    def _trend(self, name: tuple[str, ...], frame: Frame, x: Floats, raw: Floats, y: Floats) -> Trend | None:
        """The trend of this name where left-out costs follow one; the line is chosen when its process is tuned.

        Between two tunings the line stays, and only its map to the warped scale changes.
        """
        tuned = self._known(name)
        if tuned.is_due(len(self.history.keys)):
            tuned.line = best_line(x, raw, y, self._alike, lambda: self._fitted((*name, "alone"), frame, y).left_out)
        return None if tuned.line is None else Trend(tuned.line, raw, y)

    def _known(self, name: tuple[str, ...]) -> _Tuned:
        if name not in self._tuned:
            self._tuned[name] = _Tuned(ChoiceGaussianProcess())
        return self._tuned[name]

    def _fitted(self, name: tuple[str, ...], frame: Frame, y: Floats) -> ChoiceGaussianProcess:
        """The process of this name, conditioned on ``frame`` and ``y``, and tuned to them where that is due."""
        tuned, told = self._known(name), len(self.history.keys)
        if tuned.is_due(told):
            tuned.process.retune(frame, y, LATER_STEPS if tuned.told else FIRST_STEPS)
            tuned.told = told
        else:
            tuned.process.condition(frame, y)
        return tuned.process
