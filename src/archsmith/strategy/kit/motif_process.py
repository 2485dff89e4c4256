"""Gaussian processes of many targets on the same designs: one kernel, decomposed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from archsmith.predictor import Posterior
from archsmith.strategy.kit.variation import Floats

NOISE_SHARES = np.geomspace(1e-4, 1.0, 13)
"""Noise variances compared, as shares of the prior variance."""


class Kernel(NamedTuple):
    """A linear kernel on counts, which is the Weisfeiler-Lehman kernel, mixed with an exponential one.

    Args:
        share: of the linear one in the prior variance.
        reach: length scale of the exponential one, in medians of the squared distance.
    """

    share: float
    reach: float


KERNELS = (Kernel(1.0, 1.0), Kernel(0.5, 0.5), Kernel(0.5, 2.0), Kernel(0.1, 0.5), Kernel(0.1, 2.0))
"""Those that evidence chooses from."""


@dataclass(frozen=True)
class FittedTarget:
    """One target as its process learnt it, in the eigenbasis.

    Args:
        shift: mean of the target.
        scale: its standard deviation.
        spectrum: eigenvalues and noise, ``(n,)``.
        weights: the target over the spectrum, ``(n,)``.
        variance: of the prior.
        evidence: logarithm of the marginal likelihood, up to a constant.
    """

    shift: float
    scale: float
    spectrum: Floats
    weights: Floats
    variance: float
    evidence: float


class MotifProcess:
    """The prior on given designs, with everything that all targets share.

    The eigenvectors of the kernel are those of the kernel with noise, so that the noise of each target is found by
    evidence at no cost.

    Args:
        x: counts of features, ``(n, d)`` with ``n >= 1``.
        kernel: of the prior.
    """

    def __init__(self, x: Floats, kernel: Kernel) -> None:
        self._share = kernel.share
        self._centre = x.mean(axis=0)
        self._x = (x - self._centre).astype(np.float32)  # single precision: counts are small, and it is twice as fast
        self._has = x > 0
        products = np.asarray(self._x @ self._x.T, dtype=float)
        self._squares = np.diag(products).copy()
        self._power = float(self._squares.mean()) or 1.0
        far = self._distances(products, self._squares)[np.triu_indices(len(x), k=1)]
        self._length = kernel.reach * (float(np.median(far)) if far.size and np.median(far) > 0 else 1.0)
        values, self._vectors = np.linalg.eigh(self._mixed(products, self._squares))
        self._values = np.maximum(values, 0.0)

    def fit(self, y: Floats) -> FittedTarget:
        """Learn a finite target ``y (n,)`` with the noise of highest evidence."""
        shift, scale = float(y.mean()), float(y.std())
        known = scale > 1e-12 * max(1.0, abs(shift))
        target = self._vectors.T @ ((y - shift) / scale if known else np.zeros(len(y)))
        spectra = self._values + NOISE_SHARES[:, None]
        variances = np.maximum((target**2 / spectra).mean(axis=1), 1e-12)
        evidence = -0.5 * len(y) * np.log(variances) - 0.5 * np.log(spectra).sum(axis=1)
        best = int(np.argmax(evidence)) if known else len(NOISE_SHARES) - 1
        return FittedTarget(
            shift, scale if known else 0.0, spectra[best], target / spectra[best], variances[best], evidence[best]
        )

    def posterior(self, x: Floats, targets: Sequence[FittedTarget]) -> Posterior:
        """The predictions of each target at ``x (k, d)``."""
        x = (x - self._centre).astype(np.float32)
        own = np.einsum("ij,ij->i", x, x)
        kernel = self._mixed(np.asarray(x @ self._x.T, dtype=float), own) @ self._vectors
        prior = self._share * own / self._power + 1 - self._share
        means = np.stack([t.shift + t.scale * (kernel @ t.weights) for t in targets], axis=1)
        squares = kernel**2
        left = [np.maximum(t.variance * (prior - squares @ (1 / t.spectrum)), 1e-12) for t in targets]
        stds = np.stack([t.scale * np.sqrt(v) for t, v in zip(targets, left, strict=True)], axis=1)

        def covariance() -> Floats:
            products = np.asarray(x @ x.T, dtype=float)
            distances = (own[:, None] + own - 2 * products).clip(0.0)
            joint = self._share * products / self._power + self._near(distances)
            known = [t.variance * (joint - (kernel / t.spectrum) @ kernel.T) for t in targets]
            return np.stack([t.scale**2 * part for t, part in zip(targets, known, strict=True)])

        return Posterior(means, stds, covariance)

    def slopes(self, target: FittedTarget) -> Floats:
        """How the predicted mean grows with each feature, averaged over the designs that have it: ``(d,)``.

        In standard deviations of the target; 0 for features that no design has.
        """
        alpha = self._vectors @ target.weights
        linear = self._share * (alpha @ self._x) / self._power
        products = np.asarray(self._x @ self._x.T, dtype=float)
        # [i, j]: what design j adds to the mean at i
        near = self._near(self._distances(products, self._squares)) * alpha
        pulled = -2 / self._length * (near.sum(axis=1)[:, None] * self._x - near @ self._x)
        has = self._has
        return np.asarray(linear * has.any(axis=0) + (pulled * has).sum(axis=0) / np.maximum(1, has.sum(axis=0)))

    def _mixed(self, products: Floats, squares: Floats) -> Floats:
        """The kernel of centred designs with their scalar ``products (k, n)`` and ``squares (k,)``."""
        return self._share * products / self._power + self._near(self._distances(products, squares))

    def _near(self, distances: Floats) -> Floats:
        """The exponential part of the kernel, of squared distances."""
        if self._share == 1:
            return np.zeros_like(distances)
        return (1 - self._share) * np.asarray(np.exp(-distances / self._length))

    def _distances(self, products: Floats, squares: Floats) -> Floats:
        return (squares[:, None] + self._squares - 2 * products).clip(0.0)


def best_kernel(x: Floats, targets: Sequence[Floats]) -> Kernel:
    """The one of :data:`KERNELS` of highest evidence for all ``targets (n,)`` together; the first of equals."""
    processes = [MotifProcess(x, kernel) for kernel in KERNELS]
    evidences = [sum(process.fit(y).evidence for y in targets) for process in processes]
    return KERNELS[int(np.argmax(evidences))]
