"""Trees with random thresholds: smoother than a forest, and the best trees for ranking architectures."""

from __future__ import annotations

import numpy as np

from archsmith.errors import InvalidOption, require
from archsmith.method import Paper
from archsmith.predictor._data import Array, checked, standardised
from archsmith.predictor.base import Predictor


class ExtraTrees(Predictor):
    """Extremely randomised trees; the spread of the trees is the standard deviation.

    Thresholds are drawn at random and every tree sees all pairs, so that the average is smoother than that of a random
    forest. Built by scikit-learn with a fixed seed. The spread is no posterior: the trees agree on every pair that they
    have learnt from. Missing values (NaN) go to the side of each split where they were seen to fit.

    Args:
        trees: how many.
        share: of the columns that each split looks at.
        seed: of the splits.

    Raises:
        InvalidOption: for fewer than two trees, or a share outside 0..1.
        MissingExtra: without scikit-learn.
    """

    paper = Paper(
        authors="Geurts, Pierre and Ernst, Damien and Wehenkel, Louis",
        title="Extremely Randomized Trees",
        year=2006,
        venue="Machine Learning 63(1)",
        doi="10.1007/s10994-006-6226-1",
    )

    def __init__(self, *, trees: int = 100, share: float = 0.5, seed: int = 0) -> None:
        if trees < 2:
            raise InvalidOption(f"trees={trees} have no spread; give at least 2")
        if not 0 < share <= 1:
            raise InvalidOption(f"share={share} of the columns is not above 0 and at most 1")
        ensemble = require("sklearn.ensemble", extra="torch", purpose="the predictor extra_trees")
        self._trees = ensemble.ExtraTreesRegressor(trees, max_features=share, random_state=seed)

    def fit(self, x: Array, y: Array) -> None:
        """Learn from encodings ``x (n, d)`` and finite values ``y (n,)``; forgets what it learnt before."""
        x, y = checked(x, y, missing=True)
        # Standardised, because scikit-learn stops splitting below an absolute impurity.
        self._shift, self._scale, target = standardised(y)
        self._trees.fit(x, target)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each."""
        x = np.asarray(x, dtype=np.float32)
        if not len(x):
            return np.zeros(0), np.zeros(0)
        each = np.array([tree.predict(x) for tree in self._trees.estimators_])
        return self._shift + self._scale * each.mean(axis=0), self._scale * each.std(axis=0)
