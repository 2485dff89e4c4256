"""Predicted costs and limit violations of rows: one light predictor a metric, fitted on everything told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from archsmith.encoding.base import Encoding
from archsmith.metric import Limit
from archsmith.predictor.base import Predictor
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.inputs import Inputs
from archsmith.strategy.kit.observations import limit_values, usable
from archsmith.strategy.kit.scales import View, warped
from archsmith.strategy.kit.variation import Floats, Rows

DOUBT = 0.5
"""A predicted chance of failing above this counts as a violation."""


@dataclass(frozen=True)
class Forecast:
    """What the fitted predictors say; costs are in warped coordinates, where dominance is the same.

    Args:
        rows: that were learnt from, ``(n, d)``.
        costs: their warped costs, ``(n, m)``.
        violations: their true violations, ``(n,)``.
        predict: of any rows, the costs ``(k, m)`` and violations ``(k,)``.
    """

    rows: Rows
    costs: Floats
    violations: Floats
    predict: Callable[[Rows], tuple[Floats, Floats]]


def forecast(
    history: RowHistory,
    encoding: Encoding,
    make: Callable[[], Predictor],
    *,
    view: View,
    optimism: float,
    caution: float,
    free: Encoding | None = None,
) -> Forecast:
    """Fit predictors on all evaluations of ``history`` that succeeded, at least one.

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
    told = {limit: limit_values(history, limit, ok) for limit in history.limits}
    bounds = [_bound(limit, x[at], values, make, caution) for limit, (at, values) in told.items() if len(at)]
    failing = None
    if len(ok) < len(history.rows):
        failing = _fitted(make, inputs(history.rows), (~history.succeeded).astype(float))

    def predict(wanted: Rows) -> tuple[Floats, Floats]:
        z = inputs(wanted)
        guesses = [p.predict(z) for p in predictors]
        predicted = np.stack([mean - optimism * std for mean, std in guesses], axis=1)
        violations = np.zeros(len(z))
        for bound in bounds:
            violations += bound(z)
        if failing is not None:
            violations += np.maximum(failing.predict(z)[0] - DOUBT, 0.0)
        return predicted, violations

    return Forecast(rows, seen, history.violations[ok], predict)


def _fitted(make: Callable[[], Predictor], x: Floats, y: Floats) -> Predictor:
    predictor = make()
    predictor.fit(x, y)
    return predictor


def _bound(
    limit: Limit, x: Floats, values: Floats, make: Callable[[], Predictor], caution: float
) -> Callable[[Floats], Floats]:
    """Predicted relative violations of one limit, on the safe side by ``caution``."""
    sign = 1.0 if limit.sense == "<=" else -1.0
    logarithmic = bool(values.min() > 0 and limit.bound > 0)
    predictor = _fitted(make, x, np.log(values) if logarithmic else values)

    def violations(z: Floats) -> Floats:
        mean, std = predictor.predict(z)
        safe = mean + sign * caution * std
        value = np.exp(np.clip(safe, -700, 700)) if logarithmic else safe
        return np.maximum(sign * (value - limit.bound), 0.0) / (abs(limit.bound) or 1.0)

    return violations
