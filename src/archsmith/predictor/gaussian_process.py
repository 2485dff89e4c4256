"""A Gaussian process that needs no tuning and milliseconds."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.linalg import cho_solve, solve_triangular

from archsmith.errors import InvalidOption
from archsmith.method import Paper
from archsmith.predictor._columns import Columns
from archsmith.predictor._data import TUNED_ON, Array, checked, standardised
from archsmith.predictor._evidence import solved
from archsmith.predictor.base import JointPredictor

REACHES = (0.2, 0.4, 0.8, 1.6)
"""Length scales compared, in medians of the squared distance between encodings."""
LINEAR_SHARES = (0.0, 0.3, 0.7)
"""Shares of the linear kernel in the prior variance that are compared."""
NOISES = (1e-3, 1e-2, 1e-1)
"""Noise variances compared, as shares of the prior variance."""


class GaussianProcess(JointPredictor):
    r"""Gaussian process with a linear and an exponential kernel, chosen by evidence from a small grid.

    .. math:: k(x, x') = s\, \tilde x^T \tilde x' + (1 - s)\, \exp(-\lVert x - x' \rVert^2 / \ell)

    where :math:`\tilde x` is centred and scaled to unit mean square. On one-hot encodings the squared distance counts
    the choices that differ, so that the second part is the exponential Hamming kernel: it learns interactions of
    every order, while the linear part extrapolates the trend.

    Codes of zeros and ones are read as they are; counts are standardised, measured quantities replaced by the normal
    scores of their ranks, and a missing value counts as average and as missing.

    Our departures from the book: a grid of 36 settings instead of gradient ascent (deterministic, a few milliseconds at
    100 pairs), and the prior variance at its best value. The latest 200 pairs choose the setting, and beyond ``most``
    pairs only the latest are learnt from, because time grows with the cube of their number.

    Args:
        most: pairs that are learnt from at most.

    Raises:
        InvalidOption: for ``most`` below 2.
    """

    paper = Paper(
        authors="Rasmussen, Carl Edward and Williams, Christopher K. I.",
        title="Gaussian Processes for Machine Learning",
        year=2006,
        venue="MIT Press",
    )

    def __init__(self, *, most: int = 600) -> None:
        if most < 2:
            raise InvalidOption(f"most={most} pairs are too few to learn from; give at least 2")
        self._most = most

    def fit(self, x: Array, y: Array) -> None:
        """Learn from encodings ``x (n, d)`` and finite values ``y (n,)``; forgets what it learnt before."""
        x, y = checked(x, y, missing=True)
        x, y = x[-self._most :], y[-self._most :]
        self._columns = Columns(x, scores=True)
        x = self._columns(x)
        self._x, self._centre = x, x.mean(axis=0)
        self._shift, self._scale, target = standardised(y)
        self._power = float(((x - self._centre) ** 2).sum(axis=1).mean()) or 1.0
        distances = _squared_distances(x, x)
        far = distances[np.triu_indices(len(x), k=1)]
        self._median = float(np.median(far)) if far.size and np.median(far) > 0 else 1.0
        linear = self._linear(x, x)
        self._reach, self._share, noise = _chosen(
            linear[-TUNED_ON:, -TUNED_ON:], distances[-TUNED_ON:, -TUNED_ON:] / self._median, target[-TUNED_ON:]
        )
        kernel = _mixed(linear, distances / self._median, self._reach, self._share)
        self._factor, self._variance, _ = solved(kernel, noise, target)
        self._weights = cho_solve((self._factor, True), target, check_finite=False)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each."""
        x, kernel, half = self._against_known(x)
        prior = self._share * ((x - self._centre) ** 2).sum(axis=1) / self._power + (1 - self._share)
        left = np.maximum(prior - (half**2).sum(axis=0), 1e-12)
        mean = self._shift + self._scale * (kernel @ self._weights)
        return mean, self._scale * np.sqrt(self._variance * left)

    def covariance(self, x: Array) -> Array:
        """That of the values of encodings ``x (n, d)``, ``(n, n)``."""
        x, _, half = self._against_known(x)
        prior = _mixed(self._linear(x, x), _squared_distances(x, x) / self._median, self._reach, self._share)
        return self._scale**2 * self._variance * (prior - half.T @ half)

    def _against_known(self, x: Array) -> tuple[Array, Array, Array]:
        """``x`` prepared, its kernel with what was learnt ``(k, n)``, and that solved for by the factor ``(n, k)``."""
        x = self._columns(np.asarray(x, dtype=float))
        distances = _squared_distances(x, self._x) / self._median
        kernel = _mixed(self._linear(x, self._x), distances, self._reach, self._share)
        return x, kernel, solve_triangular(self._factor, kernel.T, lower=True, check_finite=False)

    def _linear(self, a: Array, b: Array) -> Array:
        product: Array = (a - self._centre) @ (b - self._centre).T
        return product / self._power


def _chosen(linear: Array, distances: Array, target: Array) -> tuple[float, float, float]:
    """The reach, linear share and noise of highest evidence; the first of equals."""
    best, found = -np.inf, (REACHES[0], LINEAR_SHARES[0], NOISES[0])
    for reach, share in itertools.product(REACHES, LINEAR_SHARES):
        kernel = _mixed(linear, distances, reach, share)
        for noise in NOISES:
            _, _, evidence = solved(kernel, noise, target)
            if evidence > best + 1e-9:
                best, found = evidence, (reach, share, noise)
    return found


def _mixed(linear: Array, distances: Array, reach: float, share: float) -> Array:
    return share * linear + (1 - share) * np.exp(-distances / reach)


def _squared_distances(a: Array, b: Array) -> Array:
    squares: Array = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * (a @ b.T)
    return squares.clip(0.0)
