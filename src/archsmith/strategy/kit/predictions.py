"""Predicted costs and limit violations of rows: one light predictor a metric, fitted on everything told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from archsmith.encoding.base import Encoding
from archsmith.predictor import Posterior
from archsmith.predictor.base import Predictor
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.inputs import Inputs
from archsmith.strategy.kit.observations import Limited, limited, usable
from archsmith.strategy.kit.scales import View, warped
from archsmith.strategy.kit.variation import Floats, Rows

LIKELY_FAILURE = 0.5
"""A predicted chance of failing above this counts as a violation."""


@dataclass(frozen=True)
class Predictions:
    """Fitted predictors of costs, limited metrics and failures; costs are warped, so that dominance is the same.

    Args:
        rows: that were learnt from, ``(n, d)``.
        costs: their warped costs, ``(n, m)``.
        violations: their true violations, ``(n,)``.
        inputs: what the predictors read of rows.
        predictors: one a cost.
        bounds: a predictor of each limited metric that was measured.
        failing: predicts failures, where there were any.
        optimism: standard deviations by which costs are predicted better than their mean.
        caution: standard deviations by which limited metrics are predicted worse than theirs.
    """

    rows: Rows
    costs: Floats
    violations: Floats
    inputs: Inputs
    predictors: Sequence[Predictor]
    bounds: Sequence[tuple[Limited, Predictor]]
    failing: Predictor | None
    optimism: float
    caution: float

    @classmethod
    def fitted(
        cls,
        history: RowHistory,
        encoding: Encoding,
        make: Callable[[], Predictor],
        *,
        view: View,
        optimism: float = 0.0,
        caution: float = 0.0,
        free: Encoding | None = None,
    ) -> Predictions:
        """Predictors fitted on all evaluations of ``history`` that succeeded, at least one.

        Args:
            history: what was told.
            encoding: of its space.
            make: gives an unfitted predictor.
            view: how costs are warped.
            optimism: standard deviations by which costs are predicted better than their mean.
            caution: standard deviations by which limited metrics are predicted worse than theirs.
            free: what is known of every row without measuring it, read beside the encoding.
        """
        ok = usable(history)
        rows, costs = history.rows[ok], history.costs[ok]
        inputs = Inputs(encoding, free, rows)
        x = inputs(rows)
        goals = [o.goal for o in history.objectives]
        seen = np.stack([warped(c, goal, view) for c, goal in zip(costs.T, goals, strict=True)], axis=1)
        predictors = [_fitted(make, x, target) for target in seen.T]
        bounds = [(known, _fitted(make, x[known.at], known.values)) for known in limited(history, ok)]
        failing = None
        if len(ok) < len(history.rows):
            failing = _fitted(make, inputs(history.rows), (~history.succeeded).astype(float))
        return cls(rows, seen, history.violations[ok], inputs, predictors, bounds, failing, optimism, caution)

    def posterior(self, rows: Rows) -> Posterior:
        """Of the costs of any ``rows (k, d)``."""
        return self._costs(self.inputs(rows))

    def predict(self, rows: Rows) -> tuple[Floats, Floats]:
        """The costs ``(k, m)`` and violations ``(k,)`` of any ``rows (k, d)``, by optimism and caution."""
        x = self.inputs(rows)
        violations = np.zeros(len(x))
        for known, predictor in self.bounds:
            safe = predictor.posterior(x).at(known.bound.sign * self.caution)
            violations += known.violations(safe[:, 0])
        if self.failing is not None:
            violations += np.maximum(self.failing.predict(x)[0] - LIKELY_FAILURE, 0.0)
        return self._costs(x).at(-self.optimism), violations

    def _costs(self, x: Floats) -> Posterior:
        return Posterior.together([predictor.posterior(x) for predictor in self.predictors])


def _fitted(make: Callable[[], Predictor], x: Floats, y: Floats) -> Predictor:
    predictor = make()
    predictor.fit(x, y)
    return predictor
