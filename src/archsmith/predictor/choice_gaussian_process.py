"""The Gaussian process of the default strategy: choices, features and their trends, tuned by marginal likelihood."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_solve, cholesky
from scipy.linalg.blas import strmm
from scipy.linalg.lapack import dpotri, dtrtri
from scipy.optimize import minimize

from archsmith.errors import InvalidOption
from archsmith.method import OURS
from archsmith.predictor._choice_kernel import FEATURE, ROOT5, Covariance, Data, Frame, Reals, distances
from archsmith.predictor._data import Array, checked, checked_values, standardised
from archsmith.predictor._posterior import Posterior
from archsmith.predictor.base import JointPredictor

__all__ = ["FEATURE", "ChoiceGaussianProcess", "Frame", "posterior_together"]

PRIOR_DEVIATION = 1.5
"""Of the logarithm of every hyper-parameter about its expected value."""
PRIOR_SHARES = (0.3, 0.5, 0.5, 0.1)
"""Expected variances of the additive, the product, the feature and the feature trend kernel; the target has 1."""
NOISE = 0.01
LEAST_NOISE = 1e-4
_BLOCK = 256  # candidates whose covariances stay in the processor's cache


class ChoiceGaussianProcess(JointPredictor):
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

    def retune(self, x: Array | Frame, y: Array, steps: int) -> None:
        """Learn from ``x`` and ``y`` alone, the hyper-parameters from where they are in at most ``steps`` steps.

        ``x`` is encodings, or a frame of them that several processes share.
        """
        frame, target = self._prepared(x, y)
        if self._theta is None:
            self._theta = _expected(frame.known)
        if len(target) > 1 and target.any():
            self._theta = _tuned(frame, target, self._theta, steps)
        self._solve(target)

    def condition(self, x: Array | Frame, y: Array) -> None:
        """Learn from ``x`` and ``y`` alone with the hyper-parameters at hand, those expected where there are none."""
        frame, target = self._prepared(x, y)
        if self._theta is None:
            self._theta = _expected(frame.known)
        self._solve(target)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each; in single precision."""
        together = posterior_together([self], x)
        return together.mean[:, 0], together.std[:, 0]

    def covariance(self, x: Array) -> Array:
        """That of the values of encodings ``x (n, d)``, ``(n, n)``."""
        data = self._frame.of(np.asarray(x, dtype=float))
        featured = data.features.shape[1] > 0
        kernel = self._covariance(data.single(), self._frame.apart(data.single()) if featured else None)
        half = self._inverse @ kernel.T
        apart = np.sqrt(distances(data.features, data.features)) if featured else None
        prior = Covariance(data, self._parameters)(data, apart)
        return np.asarray(self._scale**2 * (prior - half.T @ half))

    @property
    def left_out(self) -> float:
        """Mean squared error of the prediction of each pair from all others, hyper-parameters as they are.

        In closed form (Rasmussen and Williams 2006, section 5.4.2).
        """
        errors = self._weights / np.einsum("ij,ij->j", self._inverse, self._inverse)
        return self._scale**2 * float(errors @ errors) / len(errors)

    def _prepared(self, x: Array | Frame, y: Array) -> tuple[Frame, Array]:
        if isinstance(x, Frame):
            y = checked_values(y, len(x))
            self._frame = x
        else:
            x, y = checked(x, y, missing=True)
            x, y = x[-self._most :], y[-self._most :]
            groups = np.arange(x.shape[1]) if self._given is None else self._given
            if len(groups) != x.shape[1]:
                raise InvalidOption(
                    f"groups names {len(groups)} columns, the encoding has {x.shape[1]}; give one a column"
                )
            self._frame = Frame(x, groups)
        self._shift, self._scale, target = standardised(y)
        return self._frame, target

    def _solve(self, target: Array) -> None:
        assert self._theta is not None
        known, self._parameters = self._frame.single, np.exp(self._theta)
        parameters = self._parameters
        self._covariance = Covariance(known, parameters)
        apart = self._frame.apart(known) if known.features.shape[1] else None
        noise = parameters[-1] + LEAST_NOISE
        factor = _factor(self._covariance(known, apart), noise)
        if factor is None:  # rounded so far that it is no covariance any more, as large variances make it
            known, apart = self._frame.known, None if apart is None else self._frame.known_apart
            kernel = Covariance(known, parameters)(known, apart)
            while (factor := _factor(kernel, noise)) is None:
                noise *= 10
        self._weights = cho_solve((factor, True), target, check_finite=False)
        # Many candidates are predicted for each fit: a product with the inverse is faster than solving for them.
        self._inverse = np.asfortranarray(dtrtri(factor, lower=1)[0], dtype=np.float32)
        self._floor = 1e-3 * noise
        self._single = self._weights.astype(np.float32)

    def _moments(self, data: Data, apart: Reals | None) -> tuple[Array, Array]:
        """Mean and standard deviation of the values of candidates, ``(k,)`` each."""
        kernel = self._covariance(data, apart)
        mean = kernel @ self._single
        half = strmm(1.0, self._inverse, kernel.T, lower=1, overwrite_b=1)
        variance = self._covariance.diagonal(data) - np.einsum("ij,ij->j", half, half)
        return self._shift + self._scale * mean, self._scale * np.sqrt(np.maximum(variance, self._floor))


def _factor(kernel: Reals, noise: float) -> Array | None:
    """The lower Cholesky factor, in double precision, with ``noise`` on the diagonal; ``None`` where there is none."""
    kernel = kernel.astype(float)
    kernel[np.diag_indices_from(kernel)] += noise
    try:
        return np.asarray(cholesky(kernel, lower=True, check_finite=False))
    except np.linalg.LinAlgError:
        return None


def posterior_together(processes: Sequence[ChoiceGaussianProcess], x: Array) -> Posterior:
    """The predictions of several processes for encodings ``x (k, w)``, a value each; in single precision.

    Those that share a frame share the distances of features, too.
    """
    x = np.asarray(x, dtype=np.float32)
    means, deviations = np.empty((len(x), len(processes))), np.empty((len(x), len(processes)))
    frames = {id(process._frame): process._frame for process in processes}
    for name, frame in frames.items():
        members = [(j, process) for j, process in enumerate(processes) if id(process._frame) == name]
        for start in range(0, len(x), _BLOCK):
            part = slice(start, start + _BLOCK)
            data = frame.of(x[part])
            apart = frame.apart(data) if data.features.shape[1] else None
            for j, process in members:
                means[part, j], deviations[part, j] = process._moments(data, apart)
    return Posterior(means, deviations, lambda: np.stack([process.covariance(x) for process in processes]))


# Hyper-parameters, as logarithms: four variances, the feature length, a weight a choice, the noise.


def _expected(data: Data) -> Array:
    weights = np.full(data.choices, 2.0 / max(data.choices, 1))
    shares = np.array(PRIOR_SHARES)
    if not data.features.shape[1]:
        shares[2:] = 1e-12
    if not data.codes.shape[1]:
        shares[:2] = 1e-12
    return np.asarray(np.log(np.concatenate([shares, [1.0], weights, [NOISE]])))


def _tuned(frame: Frame, target: Array, start: Array, steps: int) -> Array:
    """Hyper-parameters of the highest posterior density that L-BFGS finds from ``start`` in ``steps`` steps."""
    density = _Density(frame, target)
    bounds = [(t - 6, t + 6) for t in density.expected]
    options = {"maxiter": steps, "maxfun": 2 * steps}
    return np.asarray(minimize(density, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x)


class _Density:
    """The negative logarithm of the posterior density of hyper-parameters, and its gradient.

    Args:
        frame: learnt from, ``n`` encodings.
        target: standardised, ``(n,)``.
    """

    def __init__(self, frame: Frame, target: Array) -> None:
        data = frame.known
        self.expected = _expected(data)
        self._data, self._target = data, target
        self._additive, self._trend = frame.products
        self._apart = frame.known_apart
        self._free = np.ones(len(self.expected), dtype=bool)
        self._free[2:5] = data.features.shape[1] > 0
        self._free[:2] = data.codes.shape[1] > 0
        self._groups = np.eye(data.choices)[data.index] if data.choices else np.zeros((0, 0))
        self._squares = data.codes**2

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient at ``theta``; a value that nothing beats where the covariance is singular."""
        p, n, target, codes = np.exp(theta), len(self._target), self._target, self._data.codes
        coded = codes * np.sqrt(p[5:-1])[self._data.index]
        product = distances(coded, coded)
        np.exp(np.negative(product, out=product), out=product)
        product *= p[1]
        matern, stretch = self._matern(p)
        kernel = product + matern
        kernel += p[0] * self._additive
        kernel += p[3] * self._trend
        kernel[np.diag_indices(n)] += p[-1] + LEAST_NOISE
        try:
            factor = cholesky(kernel, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros(len(theta))
        weights = cho_solve((factor, True), target, check_finite=False)
        value = 0.5 * target @ weights + np.log(np.diag(factor)).sum()
        half = dpotri(factor, lower=1)[0]  # its lower triangle; the upper one of the factor is zero
        slope = half + half.T
        slope[np.diag_indices(n)] /= 2
        slope -= np.outer(weights, weights)
        slope *= 0.5
        shares = [np.vdot(slope, self._additive), np.vdot(slope, product), np.vdot(slope, matern)]
        shares += [np.vdot(slope, self._trend), np.vdot(slope, stretch)]
        product *= slope
        moved = 2 * (product.sum(axis=1) @ self._squares - np.einsum("nd,nd->d", codes, product @ codes))
        scales = np.array([p[0], 1.0, 1.0, p[3], 1.0])
        gradient = np.concatenate([scales * shares, -p[5:-1] * (moved @ self._groups), [p[-1] * np.trace(slope)]])
        off = (theta - self.expected) / PRIOR_DEVIATION
        return float(value + 0.5 * off @ off), np.where(self._free, gradient + off / PRIOR_DEVIATION, 0.0)

    def _matern(self, p: Array) -> tuple[Array, Array]:
        """The kernel of the features, and its derivative by the logarithm of their length, ``(n, n)`` each."""
        far = ROOT5 / p[4] * self._apart
        decay = np.exp(-far)
        decay *= p[2]
        stretch = far * far
        stretch /= 3
        matern = stretch + far
        matern += 1
        matern *= decay
        far += 1
        stretch *= far
        stretch *= decay
        return matern, stretch
