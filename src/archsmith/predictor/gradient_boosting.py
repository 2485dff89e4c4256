"""Trees that each fit the residuals of the ones before."""

from __future__ import annotations

from typing import Any

import numpy as np

from archsmith.errors import InvalidOption, require
from archsmith.method import Paper
from archsmith.predictor._columns import Columns
from archsmith.predictor._data import Array, checked, standardised
from archsmith.predictor.base import Predictor


class GradientBoosting(Predictor):
    """Stochastic gradient boosting of small trees, several times over; the runs' spread is the standard deviation.

    Each run draws its own half of the pairs for every tree. Built by scikit-learn's exact trees rather than its faster
    histogram ones, which need hundreds of pairs before they split well. A missing value counts as average and as
    missing. The spread is the disagreement of the runs; it holds no noise.

    Args:
        runs: how many.
        trees: of each run.
        rate: share of the residuals that each tree removes.
        depth: of the trees.
        seed: of the draws.

    Raises:
        InvalidOption: for fewer than two runs, or trees, rate or depth that are not positive.
        MissingExtra: without scikit-learn.
    """

    paper = Paper(
        authors="Friedman, Jerome H.",
        title="Stochastic Gradient Boosting",
        year=2002,
        venue="Computational Statistics & Data Analysis 38(4)",
        doi="10.1016/S0167-9473(01)00065-2",
    )

    def __init__(self, *, runs: int = 3, trees: int = 120, rate: float = 0.08, depth: int = 4, seed: int = 0) -> None:
        if runs < 2 or trees < 1 or depth < 1 or not 0 < rate <= 1:
            raise InvalidOption(
                f"runs={runs} (at least 2), trees={trees} (at least 1), depth={depth} (at least 1) and rate={rate} "
                "(above 0, at most 1): one is outside its range"
            )
        ensemble = require("sklearn.ensemble", extra="torch", purpose="the predictor gradient_boosting")
        self._runs: list[Any] = [
            ensemble.GradientBoostingRegressor(
                n_estimators=trees,
                learning_rate=rate,
                max_depth=depth,
                subsample=0.5,
                max_features=0.3,
                random_state=seed + run,
            )
            for run in range(runs)
        ]

    def fit(self, x: Array, y: Array) -> None:
        """Learn from encodings ``x (n, d)`` and finite values ``y (n,)``; forgets what it learnt before."""
        x, y = checked(x, y, missing=True)
        self._columns = Columns(x)
        self._shift, self._scale, target = standardised(y)
        # A subsample of one half must hold a pair.
        times = 2 if len(x) == 1 else 1
        for run in self._runs:
            run.fit(np.repeat(self._columns(x), times, axis=0), np.repeat(target, times))

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each."""
        x = self._columns(np.asarray(x, dtype=float))
        if not len(x):
            return np.zeros(0), np.zeros(0)
        each = np.array([run.predict(x) for run in self._runs])
        return self._shift + self._scale * each.mean(axis=0), self._scale * each.std(axis=0)
