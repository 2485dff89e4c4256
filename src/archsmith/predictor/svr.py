"""Support vectors with a Gaussian kernel."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from archsmith.errors import InvalidOption, require
from archsmith.method import Paper
from archsmith.predictor._columns import Columns
from archsmith.predictor._data import TUNED_ON, Array, checked, standardised
from archsmith.predictor.base import Predictor

COSTS = (0.5, 2.0, 8.0)
"""Prices of an error that are compared."""
KERNEL_WIDTHS = (0.7, 1.5, 3.0)
"""Kernel widths that are compared, in mean squared distances between encodings."""
FOLDS = 5


class Svr(Predictor):
    """Support vector regression with a Gaussian kernel; price of an error and kernel width by cross-validation.

    The standard deviation is the same for every architecture: the root mean square error of the cross-validation, in
    which no pair is predicted by a model that has seen it. Codes of zeros and ones are read as they are, counts are
    standardised, measured quantities replaced by normal scores, and a missing value counts as average and as missing.

    Args:
        tube: errors below so many standard deviations of the values cost nothing.

    Raises:
        InvalidOption: for a negative ``tube``.
        MissingExtra: without scikit-learn.
    """

    paper = Paper(
        authors="Drucker, Harris and Burges, Christopher J. C. and Kaufman, Linda and Smola, Alex and Vapnik, Vladimir",
        title="Support Vector Regression Machines",
        year=1996,
        venue="NeurIPS",
    )

    def __init__(self, *, tube: float = 0.1) -> None:
        if not tube >= 0:
            raise InvalidOption(f"tube={tube} is negative; errors below 0 do not exist")
        self._tube = tube
        self._svm = require("sklearn.svm", extra="torch", purpose="the predictor svr")

    def fit(self, x: Array, y: Array) -> None:
        """Learn from encodings ``x (n, d)`` and finite values ``y (n,)``; forgets what it learnt before."""
        x, y = checked(x, y, missing=True)
        self._shift, self._scale, target = standardised(y)
        latest = slice(-TUNED_ON, None)
        tried = [
            (self._error(x[latest], target[latest], cost, reach), cost, reach)
            for cost, reach in itertools.product(COSTS, KERNEL_WIDTHS)
        ]
        error, cost, reach = min(tried)
        self._error_left = float(np.sqrt(error))
        self._columns, self._model = self._fitted(x, target, cost, reach)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each."""
        x = self._columns(np.asarray(x, dtype=float))
        if not len(x):
            return np.zeros(0), np.zeros(0)
        return self._shift + self._scale * self._model.predict(x), np.full(len(x), self._scale * self._error_left)

    def _error(self, x: Array, target: Array, cost: float, reach: float) -> float:
        """The mean squared error on pairs left out in turn; that of guessing 0 where there is one pair only."""
        if len(x) < 2:
            return float((target**2).mean())
        turn = np.arange(len(x)) % min(FOLDS, len(x))
        squares = np.zeros(len(x))
        for fold in range(turn.max() + 1):
            out = turn == fold
            columns, model = self._fitted(x[~out], target[~out], cost, reach)
            squares[out] = (model.predict(columns(x[out])) - target[out]) ** 2
        return float(squares.mean())

    def _fitted(self, x: Array, target: Array, cost: float, reach: float) -> tuple[Columns, Any]:
        columns = Columns(x, scores=True)
        prepared = columns(x)
        distance = 2 * float(prepared.var(axis=0).sum()) or 1.0
        model = self._svm.SVR(C=cost, gamma=1 / (reach * distance), epsilon=self._tube)
        return columns, model.fit(prepared, target)
