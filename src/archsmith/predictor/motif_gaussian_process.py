"""A Gaussian process on motifs of operator graphs, and which motifs it found to matter."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_solve, solve_triangular

from archsmith.errors import InvalidOption
from archsmith.method import Paper
from archsmith.predictor._columns import Columns
from archsmith.predictor._data import Array, checked, standardised
from archsmith.predictor._evidence import solved
from archsmith.predictor.base import JointPredictor

OTHER = -1
"""The group of columns that are no motifs."""
OTHER_SHARES = (0.0, 0.25, 0.5, 0.75)
"""Shares of the other columns in the prior variance that are compared."""
MOTIF_NOISES = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""Noise variances compared, as shares of the prior variance."""


class MotifGaussianProcess(JointPredictor):
    r"""Gaussian process with a Weisfeiler-Lehman kernel; rounds, noise and mixture by marginal likelihood.

    .. math:: k(x, x') = (1 - s)\, \frac{\phi_h^T \phi'_h}{\lVert\phi_h\rVert \lVert\phi'_h\rVert}
              + s\, \exp(-\lVert z - z' \rVert^2 / 2 \bar d)

    where :math:`\phi_h` are the counts of motifs of up to :math:`h` rounds (encoding ``weisfeiler_lehman``) and
    :math:`z` all other columns, such as codes of choices or free metrics. The evidence chooses :math:`h`, :math:`s` and
    the noise from a grid; the prior variance is at its best value. The posterior mean is a function of the counts, and
    its slope along each of them says which motifs help and which harm (:meth:`effects`).

    **Departures from the paper.** A grid instead of gradient ascent; all rounds up to :math:`h` have the same weight.

    Args:
        groups: for each column the round of its motif, or -1 for a column that is no motif;
            :attr:`~archsmith.encoding.weisfeiler_lehman.WeisfeilerLehman.rounds` knows. ``None``: all are of round 0.
        most: pairs that are learnt from at most, the latest given.

    Raises:
        InvalidOption: for ``most`` below 2.
    """

    paper = Paper(
        authors="Ru, Binxin and Wan, Xingchen and Dong, Xiaowen and Osborne, Michael",
        title="Interpretable Neural Architecture Search via Bayesian Optimisation with Weisfeiler-Lehman Kernels",
        year=2021,
        venue="ICLR",
        arxiv="2006.07556",
    )

    def __init__(self, *, groups: Sequence[int] | None = None, most: int = 1100) -> None:
        if most < 2:
            raise InvalidOption(f"most={most} pairs are too few to learn from; give at least 2")
        self._groups = None if groups is None else np.asarray(groups, dtype=int)
        self._most = most

    def fit(self, x: Array, y: Array) -> None:
        """Learn from encodings ``x (n, d)`` and finite values ``y (n,)``; forgets what it learnt before."""
        x, y = checked(x, y, missing=True)
        x, y = x[-self._most :], y[-self._most :]
        groups = np.zeros(x.shape[1], dtype=int) if self._groups is None else self._groups
        if len(groups) != x.shape[1]:
            raise InvalidOption(f"groups names {len(groups)} columns, the encoding has {x.shape[1]}; give one a column")
        self._shift, self._scale, target = standardised(y)
        self._other = np.flatnonzero(groups == OTHER)
        self._columns = Columns(x[:, self._other], scores=True)
        z = self._columns(x[:, self._other])
        self._distance = 4 * float(z.var(axis=0).sum()) or 1.0
        self._z = z
        other = self._others(z, z)
        best = -np.inf
        # Without motifs one pass, with an empty kernel, is left.
        for depth in sorted(set(groups[groups != OTHER].tolist())) or [0]:
            motifs = np.flatnonzero((groups >= 0) & (groups <= depth))
            unit = _unit(x[:, motifs])
            similar = unit @ unit.T
            shares = OTHER_SHARES if motifs.size and self._other.size else (0.0,) if motifs.size else (1.0,)
            for share, noise in itertools.product(shares, MOTIF_NOISES):
                kernel = (1 - share) * similar + share * other
                factor, variance, evidence = solved(kernel, noise, target)
                if evidence > best + 1e-9:
                    best = evidence
                    self.rounds, self._share, self._noise = depth, share, noise
                    self._factor, self._variance, self._motifs, self._unit = factor, variance, motifs, unit
        self._weights = cho_solve((self._factor, True), target, check_finite=False)
        self._learnt = x

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each."""
        unit, _, kernel, half = self._against_known(x)
        prior = (1 - self._share) * (unit**2).sum(axis=1) + self._share
        left = np.maximum(prior - (half**2).sum(axis=0), 1e-12)
        mean = self._shift + self._scale * (kernel @ self._weights)
        return mean, self._scale * np.sqrt(self._variance * left)

    def covariance(self, x: Array) -> Array:
        """That of the values of encodings ``x (n, d)``, ``(n, n)``."""
        unit, z, _, half = self._against_known(x)
        prior = (1 - self._share) * (unit @ unit.T) + self._share * self._others(z, z)
        return self._scale**2 * self._variance * (prior - half.T @ half)

    def _against_known(self, x: Array) -> tuple[Array, Array, Array, Array]:
        """Motifs and other columns of ``x``, its kernel with what was learnt ``(k, n)``, and that solved for."""
        x = np.asarray(x, dtype=float)
        unit, z = _unit(x[:, self._motifs]), self._columns(x[:, self._other])
        kernel = (1 - self._share) * (unit @ self._unit.T)
        kernel += self._share * self._others(z, self._z)
        return unit, z, kernel, solve_triangular(self._factor, kernel.T, lower=True, check_finite=False)

    def effects(self) -> Array:
        """How the mean changes with one more of each motif, averaged over what was learnt, ``(d,)``.

        In units of the value. 0 for columns that are no motifs or of rounds beyond those chosen (:attr:`rounds`).
        """
        counts = self._learnt[:, self._motifs]
        length = np.sqrt((counts**2).sum(axis=1, keepdims=True))
        pull = (1 - self._share) * (self._unit.T @ self._weights)
        slopes = np.divide(pull - self._unit * (self._unit @ pull)[:, None], length, where=length > 0, out=0 * counts)
        found = np.zeros(self._learnt.shape[1])
        found[self._motifs] = self._scale * slopes.mean(axis=0)
        return found

    def _others(self, a: Array, b: Array) -> Array:
        squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * (a @ b.T)
        near: Array = np.exp(-squares.clip(0.0) / self._distance)
        return near


def _unit(counts: Array) -> Array:
    """Rows of length 1, or 0 where nothing is counted."""
    length = np.sqrt((counts**2).sum(axis=1, keepdims=True))
    unit: Array = np.divide(counts, length, where=length > 0, out=np.zeros_like(counts))
    return unit
