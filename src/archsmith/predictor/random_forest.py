"""Trees: robust to odd targets, weak at extrapolation."""

from __future__ import annotations

import numpy as np

from archsmith.errors import InvalidOption, require
from archsmith.method import Paper
from archsmith.predictor._data import Array, checked, standardised
from archsmith.predictor.base import Predictor


class RandomForest(Predictor):
    """Random forest; the spread of its trees is the standard deviation.

    Built by scikit-learn with a fixed seed, so that equal data give equal predictions. The spread of trees is no
    posterior: it is small where all trees agree, also far from the data. Missing values (NaN) go to the side of each
    split where they were seen to fit.

    Args:
        trees: how many.
        seed: of the bootstrap samples and splits.

    Raises:
        InvalidOption: for fewer than two trees.
        MissingExtra: without scikit-learn.
    """

    paper = Paper(authors="Breiman, Leo", title="Random Forests", year=2001, venue="Machine Learning 45(1)")

    def __init__(self, *, trees: int = 60, seed: int = 0) -> None:
        if trees < 2:
            raise InvalidOption(f"trees={trees} have no spread; give at least 2")
        ensemble = require("sklearn.ensemble", extra="torch", purpose="the predictor random_forest")
        self._forest = ensemble.RandomForestRegressor(trees, max_features=0.5, random_state=seed)

    def fit(self, x: Array, y: Array) -> None:
        """Learn from encodings ``x (n, d)`` and finite values ``y (n,)``; forgets what it learnt before."""
        x, y = checked(x, y, missing=True)
        # Standardised, because scikit-learn stops splitting below an absolute impurity.
        self._shift, self._scale, target = standardised(y)
        self._forest.fit(x, target)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each."""
        x = np.asarray(x, dtype=np.float32)
        if not len(x):
            return np.zeros(0), np.zeros(0)
        each = np.array([tree.predict(x) for tree in self._forest.estimators_])
        return self._shift + self._scale * each.mean(axis=0), self._scale * each.std(axis=0)
