"""What fitted models know of values that are not measured yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from archsmith.predictor._data import Array

LEAST_STD = 1e-9
"""Standard deviation of what never changed."""
WIDEST_GAP = 1e6
"""Deviations between a mean and a bound beyond which a chance grows no smaller."""


@dataclass(frozen=True)
class Bound:
    """A limit on a predicted value, on the scale of the prediction."""

    value: float
    sense: Literal["<=", ">="]

    @property
    def sign(self) -> float:
        """1 for "at most", -1 for "at least"."""
        return 1.0 if self.sense == "<=" else -1.0


@dataclass(frozen=True)
class Posterior:
    """Gaussian predictions of ``m`` values for each of ``k`` inputs; the values are independent of each other.

    Args:
        mean: ``(k, m)``.
        std: ``(k, m)``.
        covariance: gives that of the inputs for each value, ``(m, k, k)``; ``None`` where the model does not know it.
    """

    mean: Array
    std: Array
    covariance: Callable[[], Array] | None = None

    @classmethod
    def together(cls, parts: Sequence[Posterior]) -> Posterior:
        """The values of all ``parts``, which are of the same inputs, side by side."""

        def covariance() -> Array:
            return np.concatenate([part._covariances() for part in parts])

        joint = any(part.covariance is not None for part in parts)
        mean, std = (np.concatenate([getattr(p, name) for p in parts], axis=1) for name in ("mean", "std"))
        return cls(mean, std, covariance if joint else None)

    def columns(self, which: slice) -> Posterior:
        """Some of the values alone."""
        covariance = None if self.covariance is None else lambda: self._covariances()[which]
        return Posterior(self.mean[:, which], self.std[:, which], covariance)

    def at(self, deviations: float) -> Array:
        """The values so many standard deviations above the mean, ``(k, m)``."""
        return self.mean + deviations * self.std

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """``n`` draws of all values, ``(n, k, m)``: joint over the inputs where the model knows their covariance."""
        drawn = rng.normal(size=(n, *self.mean.shape))
        if self.covariance is None:
            return self.mean + self.std * drawn
        spectrum, vectors = np.linalg.eigh(self._covariances())
        roots = vectors * np.sqrt(np.maximum(spectrum, 0.0))[:, None]
        return np.asarray(self.mean + np.einsum("mij,njm->nim", roots, drawn))

    def log_chance(self, bounds: Sequence[Bound]) -> Array:
        """Logarithm of the probability that each value keeps its bound, one for each value: ``(k,)``."""
        from scipy.special import log_ndtr

        chance = np.zeros(len(self.mean))
        for bound, mean, std in zip(bounds, self.mean.T, self.std.T, strict=True):
            with np.errstate(over="ignore"):
                gap = bound.sign * (bound.value - mean) / np.maximum(std, LEAST_STD)
            chance += log_ndtr(np.clip(gap, -WIDEST_GAP, WIDEST_GAP))
        return chance

    def chance(self, bounds: Sequence[Bound]) -> Array:
        """The probability that each value keeps its bound, one for each value: ``(k,)``."""
        return np.exp(self.log_chance(bounds))

    def _covariances(self) -> Array:
        return np.stack([np.diag(s**2) for s in self.std.T]) if self.covariance is None else self.covariance()
