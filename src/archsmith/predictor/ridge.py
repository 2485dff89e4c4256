"""A linear model with an uncertainty: the lightest predictor that is worth asking."""

from __future__ import annotations

import numpy as np

from archsmith.method import Paper
from archsmith.predictor._columns import Columns
from archsmith.predictor._data import Array, checked, standardised
from archsmith.predictor.base import Predictor

STRENGTHS = np.logspace(-4, 4, 33)
"""Ridge penalties that are compared, in mean squared lengths of the centred encodings."""


class Ridge(Predictor):
    r"""Bayesian ridge regression: linear, with the penalty of highest evidence and an honest spread.

    With the singular values of the centred encodings the posterior is a closed form for every penalty at once, and the
    noise integrates out, so that no iteration and no tuning is left:

    .. math:: w \sim N(0, \sigma^2 / \lambda), \quad y \sim N(x^T w + b, \sigma^2), \quad p(\sigma) \propto 1 / \sigma

    Our departures from MacKay: evidence on a fixed grid of :math:`\lambda` instead of a fixed-point iteration, because
    a grid is deterministic and cannot oscillate. The spread holds the noise too, which here is mostly what a line
    cannot follow. Columns other than codes of zeros and ones are standardised first, because one penalty serves all;
    a missing value counts as average, and that it is missing has a weight of its own. It is written out rather than
    taken from scikit-learn because the core installation does without that package, and one decomposition serves all
    penalties.
    """

    paper = Paper(
        authors="MacKay, David J. C.", title="Bayesian Interpolation", year=1992, venue="Neural Computation 4(3)"
    )

    def fit(self, x: Array, y: Array) -> None:
        """Learn from encodings ``x (n, d)`` and finite values ``y (n,)``; forgets what it learnt before."""
        x, y = checked(x, y, missing=True)
        self._columns = Columns(x)
        x = self._columns(x)
        self._centre = x.mean(axis=0)
        self._shift, self._scale, target = standardised(y)
        u, s, self._vt = np.linalg.svd(x - self._centre, full_matrices=False)
        projected = u.T @ target
        n = len(y)
        # Per penalty: what the fit leaves over plus what the prior charges for the weights it needs.
        penalties = STRENGTHS * (float((s**2).sum()) / n or 1.0)
        shrink = s**2 / (s**2 + penalties[:, None])
        left = np.maximum(target @ target - (shrink * projected**2).sum(axis=1), 1e-9 * n)
        evidence = -0.5 * np.log1p(s**2 / penalties[:, None]).sum(axis=1) - 0.5 * n * np.log(left)
        best = int(np.argmax(evidence))
        self._weights = self._vt.T @ (s / (s**2 + penalties[best]) * projected)
        self._noise = left[best] / n
        self._penalty = penalties[best]
        self._s = s
        self._n = n

    def mean(self, x: Array) -> Array:
        """The value of each encoding alone, ``(n,)``: much less work than with its deviation."""
        prepared = self._columns(np.asarray(x, dtype=float))
        return np.asarray(self._shift + self._scale * ((prepared - self._centre) @ self._weights))

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each."""
        centred = self._columns(np.asarray(x, dtype=float)) - self._centre
        along = centred @ self._vt.T
        # Directions never seen keep the prior's variance; those seen keep what the data left of it.
        unseen = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0.0) / self._penalty
        variance = (along**2 / (self._s**2 + self._penalty)).sum(axis=1) + unseen + 1 / self._n + 1
        mean = self._shift + self._scale * (centred @ self._weights)
        return mean, self._scale * np.sqrt(self._noise * variance)
