"""From the scores of an ensemble to a mean and an honest standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archsmith.predictor._data import Array

LEAST_LEFT_OUT = 8
"""Pairs below which nothing is left out: then only the residuals of the fit itself are known."""


def folds(n: int, members: int, seed: int) -> NDArray[np.bool_]:
    """Which pairs each member leaves out, ``(members, n)``: every pair one member, where there are enough."""
    if n < LEAST_LEFT_OUT:
        return np.zeros((members, n), dtype=bool)
    place = np.random.default_rng(seed).permutation(n) % members
    return np.asarray(np.arange(members)[:, None] == place)


@dataclass(frozen=True)
class Calibration:
    """An affine map of the ensemble's mean, and the noise of its residuals.

    Args:
        slope: of the map.
        offset: of the map.
        noise: standard deviation of the residuals.
    """

    slope: float
    offset: float
    noise: float

    def __call__(self, scores: Array) -> tuple[Array, Array]:
        """Mean and standard deviation ``(n,)`` for the members' ``scores (members, n)``."""
        spread = self.slope * scores.std(axis=0)
        return self.slope * scores.mean(axis=0) + self.offset, np.sqrt(spread**2 + self.noise**2)


def calibrated(scores: Array, target: Array, left_out: NDArray[np.bool_]) -> Calibration:
    """The least squares map from members' scores of pairs that they left out to the ``target``.

    Args:
        scores: of every member for every pair, ``(members, n)``.
        target: standardised, ``(n,)``; constant targets are all 0.
        left_out: from :func:`folds`.
    """
    if not target.any():
        return Calibration(0.0, 0.0, 0.0)
    guess = np.where(left_out, scores, 0.0).sum(axis=0) if left_out.any() else scores.mean(axis=0)
    centred = guess - guess.mean()
    power = float(centred @ centred)
    # A negative slope is noise: the map may flatten the order, but not reverse it.
    slope = float(np.clip(centred @ target / power, 0.05, 1.5)) if power > 0 else 1.0
    offset = float(target.mean() - slope * guess.mean())
    return Calibration(slope, offset, float(np.sqrt(np.mean((target - slope * guess - offset) ** 2))))
