"""The Gaussian process of the default strategy: choices, features and their trends, tuned by marginal likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

from archsmith.errors import InvalidOption
from archsmith.method import OURS
from archsmith.predictor._columns import first_of_equals
from archsmith.predictor._data import Array, checked, standardised
from archsmith.predictor.base import Predictor

FEATURE = -1
"""The group of columns that are real features and not codes of choices."""
ROOT5 = np.sqrt(5.0)
PRIOR_DEVIATION = 1.5
"""Of the logarithm of every hyper-parameter about its expected value."""
SHARES = (0.3, 0.5, 0.5, 0.1)
"""Expected variances of the additive, the product, the feature and the feature trend kernel; the target has 1."""
NOISE = 0.01
LEAST_NOISE = 1e-4
_Floats = NDArray[np.floating[Any]]  # single precision where there are many
_BLOCK = 256  # candidates whose covariances stay in the processor's cache


class ChoiceGaussianProcess(Predictor):
    r"""Gaussian process on the codes of choices and on features, its hyper-parameters by marginal likelihood.

    .. math:: k = a_0\, \tilde c^T \tilde c' + a_1 \prod_j e^{-w_j d_j(c, c')}
              + a_2\, M_{5/2}(\lVert f - f' \rVert / \ell) + a_3\, f^T f'

    The codes :math:`c` of a choice are the columns of one group, made so that their squared distance :math:`d_j` lies
    in 0..1 (:mod:`archsmith.encoding.thermometer`); :math:`w_j` says how much choice :math:`j` matters. The additive
    part extrapolates, the product of exponential Hamming kernels learns interactions of every order. The features
    :math:`f` (graph features, free metrics) are standardised; a missing one (NaN) counts as average, and each pattern
    of gaps is a feature of its own.

    Maximum a posteriori under log-normal priors, by L-BFGS on analytic gradients. :meth:`retune` goes on from the
    hyper-parameters at hand, :meth:`condition` keeps them: a search that learns from one more pair needs no more.

    Args:
        groups: for each column the number of its choice, or -1 for a feature; ``None`` makes every column a choice.
        steps: of the optimiser at most.
        most: pairs that are learnt from at most, the latest given.

    Raises:
        InvalidOption: for options outside their range.
    """

    paper = OURS

    def __init__(self, *, groups: Sequence[int] | None = None, steps: int = 40, most: int = 1000) -> None:
        if steps < 1 or most < 2:
            raise InvalidOption(f"steps={steps} and most={most}: give at least 1 step and 2 pairs")
        self._given = None if groups is None else np.asarray(groups, dtype=int)
        self._steps, self._most = steps, most
        self._theta: Array | None = None

    def fit(self, x: Array, y: Array) -> None:
        """Learn from encodings ``x (n, d)`` and finite values ``y (n,)``; forgets what it learnt before."""
        self._theta = None
        self.retune(x, y, self._steps)

    def retune(self, x: Array, y: Array, steps: int) -> None:
        """Learn from ``x`` and ``y`` alone, the hyper-parameters from where they are in at most ``steps`` steps."""
        data, target = self._prepared(x, y)
        if self._theta is None:
            self._theta = _expected(data)
        if len(target) > 1 and target.any():
            self._theta = _tuned(data, target, self._theta, steps)
        self._solve(data, target)

    def condition(self, x: Array, y: Array) -> None:
        """Learn from ``x`` and ``y`` alone with the hyper-parameters at hand, those expected where there are none."""
        data, target = self._prepared(x, y)
        if self._theta is None:
            self._theta = _expected(data)
        self._solve(data, target)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each; in single precision."""
        x = np.asarray(x, dtype=np.float32)
        mean, variance = np.empty(len(x)), np.empty(len(x))
        for start in range(0, len(x), _BLOCK):
            part = slice(start, start + _BLOCK)
            data = self._split(x[part])
            kernel = _kernel(data, self._known, self._parameters)
            half = kernel @ self._inverse
            mean[part] = kernel @ self._weights
            variance[part] = _diagonal(data, self._parameters) - np.einsum("ij,ij->i", half, half)
        return self._shift + self._scale * mean, self._scale * np.sqrt(np.maximum(variance, self._floor))

    @property
    def left_out(self) -> float:
        """Mean squared error of the prediction of each pair from all others, hyper-parameters as they are.

        In closed form (Rasmussen and Williams 2006, section 5.4.2).
        """
        errors = self._weights / np.einsum("ij,ij->i", self._inverse, self._inverse)
        return self._scale**2 * float(errors @ errors) / len(errors)

    def _prepared(self, x: Array, y: Array) -> tuple[_Data, Array]:
        x, y = checked(x, y, missing=True)
        x, y = x[-self._most :], y[-self._most :]
        groups = np.arange(x.shape[1]) if self._given is None else self._given
        if len(groups) != x.shape[1]:
            raise InvalidOption(f"groups names {len(groups)} columns, the encoding has {x.shape[1]}; give one a column")
        self._groups, self._index = groups, np.unique(groups[groups != FEATURE], return_inverse=True)[1]
        codes = x[:, groups != FEATURE]
        self._gaps = first_of_equals(np.isnan(x[:, groups == FEATURE]))
        features = self._features(x)
        self._code_centre = codes.mean(axis=0)
        self._code_scale = np.sqrt(((codes - self._code_centre) ** 2).sum(axis=1).mean()) or 1.0
        known = ~np.isnan(features)
        self._feature_centre = np.where(known, features, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        deviation = np.where(known, features - self._feature_centre, 0.0).std(axis=0)
        self._feature_scale = np.where(deviation > 1e-9, deviation, np.inf) * np.sqrt(max(1, (deviation > 1e-9).sum()))
        self._shift, self._scale, target = standardised(y)
        return self._split(x), target

    def _features(self, x: Array) -> Array:
        """The feature columns, and one that marks each pattern of gaps."""
        features = x[:, self._groups == FEATURE]
        return np.concatenate([features, np.isnan(features[:, self._gaps])], axis=1, dtype=x.dtype)

    def _split(self, x: Array) -> _Data:
        codes, features = x[:, self._groups != FEATURE], self._features(x)
        centred = (codes - self._code_centre) / self._code_scale
        scaled = np.nan_to_num((features - self._feature_centre) / self._feature_scale)
        return _Data(codes, centred.astype(x.dtype), scaled.astype(x.dtype), self._index)

    def _solve(self, data: _Data, target: Array) -> None:
        assert self._theta is not None
        self._parameters = np.exp(self._theta)
        kernel = _kernel(data, data, self._parameters)
        noise = self._parameters[-1] + LEAST_NOISE
        kernel[np.diag_indices_from(kernel)] += noise
        factor = cholesky(kernel, lower=True, check_finite=False)
        self._weights = cho_solve((factor, True), target, check_finite=False)
        # Many candidates are predicted for each fit: a product with the inverse is faster than solving for them.
        self._inverse = solve_triangular(factor, np.eye(len(target)), lower=True, check_finite=False).T
        self._inverse = self._inverse.astype(np.float32)
        self._known, self._floor = data.single(), 1e-3 * noise


@dataclass(frozen=True)
class _Data:
    """``codes (n, d)`` as they are and ``centred``, standardised ``features (n, f)``, the choice of each code."""

    codes: _Floats
    centred: _Floats
    features: _Floats
    index: NDArray[np.intp]

    def single(self) -> _Data:
        """The same in single precision."""
        codes, centred, features = (part.astype(np.float32) for part in (self.codes, self.centred, self.features))
        return _Data(codes, centred, features, self.index)

    @property
    def choices(self) -> int:
        return int(self.index.max(initial=-1)) + 1


# Hyper-parameters, as logarithms: four variances, the feature length, a weight a choice, the noise.


def _expected(data: _Data) -> Array:
    weights = np.full(data.choices, 2.0 / max(data.choices, 1))
    shares = np.array(SHARES)
    if not data.features.shape[1]:
        shares[2:] = 1e-12
    if not data.codes.shape[1]:
        shares[:2] = 1e-12
    return np.asarray(np.log(np.concatenate([shares, [1.0], weights, [NOISE]])))


def _distances(a: _Floats, b: _Floats) -> _Floats:
    squares: _Floats = a @ b.T
    squares *= -2
    squares += (a * a).sum(axis=1)[:, None]
    squares += (b * b).sum(axis=1)
    np.maximum(squares, 0.0, out=squares)
    return squares


def _kernel(a: _Data, b: _Data, p: Array) -> _Floats:
    """Covariances ``(n, m)`` in the precision of the data; in place, since most of the time is spent here."""
    p = p.astype(a.codes.dtype)
    root = np.sqrt(p[5:-1])[a.index]
    total = _distances(a.codes * root, b.codes * root)
    np.exp(np.negative(total, out=total), out=total)
    total *= p[1]
    total += (p[0] * a.centred) @ b.centred.T
    if a.features.shape[1]:
        far = np.sqrt(_distances(a.features, b.features))
        far *= a.codes.dtype.type(ROOT5) / p[4]
        decay = np.exp(-far)
        decay *= p[2]
        total += decay
        decay *= far
        total += decay
        decay *= far
        decay /= 3
        total += decay
        total += (p[3] * a.features) @ b.features.T
    return total


def _diagonal(a: _Data, p: Array) -> Array:
    features = p[2] + p[3] * (a.features**2).sum(axis=1) if a.features.shape[1] else 0.0
    return np.asarray(p[0] * (a.centred**2).sum(axis=1) + p[1] + features)


def _tuned(data: _Data, target: Array, start: Array, steps: int) -> Array:
    expected, n = _expected(data), len(target)
    additive, trend = data.centred @ data.centred.T, data.features @ data.features.T
    apart = np.sqrt(_distances(data.features, data.features))
    free = np.ones(len(start), dtype=bool)
    free[2:5] = data.features.shape[1] > 0
    free[:2] = data.codes.shape[1] > 0
    groups = np.eye(data.choices)[data.index] if data.choices else np.zeros((0, 0))

    def loss(theta: Array) -> tuple[float, Array]:
        p = np.exp(theta)
        root = np.sqrt(p[5:-1])[data.index]
        product = np.exp(-_distances(data.codes * root, data.codes * root))
        far = ROOT5 / p[4] * apart
        decay = np.exp(-far)
        matern = (1 + far + far**2 / 3) * decay
        kernel = p[0] * additive + p[1] * product + p[2] * matern + p[3] * trend
        kernel[np.diag_indices(n)] += p[-1] + LEAST_NOISE
        try:
            factor = cholesky(kernel, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros(len(theta))
        weights = cho_solve((factor, True), target, check_finite=False)
        half = dpotri(factor, lower=1)[0]  # its lower triangle; the upper one of the factor is zero
        inverse = half + half.T
        inverse[np.diag_indices(n)] /= 2
        slope = 0.5 * (inverse - np.outer(weights, weights))
        weighted = slope * product * p[1]
        moved = 2 * (weighted.sum(axis=1) @ data.codes**2 - np.einsum("nd,nd->d", data.codes, weighted @ data.codes))
        gradient = np.concatenate(
            [
                [p[0] * np.vdot(slope, additive), weighted.sum(), p[2] * np.vdot(slope, matern)],
                [p[3] * np.vdot(slope, trend), p[2] * np.vdot(slope, far**2 * (1 + far) / 3 * decay)],
                -p[5:-1] * (moved @ groups),
                [p[-1] * np.trace(slope)],
            ]
        )
        off = (theta - expected) / PRIOR_DEVIATION
        value = 0.5 * target @ weights + np.log(np.diag(factor)).sum() + 0.5 * off @ off
        return float(value), np.where(free, gradient + off / PRIOR_DEVIATION, 0.0)

    bounds = [(t - 6, t + 6) for t in expected]
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps, "maxfun": 2 * steps}
    )
    return np.asarray(found.x)
