"""What every predictor does with its data before it learns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import InvalidData

Array = NDArray[np.float64]
TUNED_ON = 200
"""Pairs, the latest given, that choose between settings."""


def checked(x: Array, y: Array, *, missing: bool = False) -> tuple[Array, Array]:
    """``x (n, d)`` and ``y (n,)`` as float64.

    Args:
        x: encodings.
        y: values.
        missing: let NaN pass in ``x``.

    Raises:
        InvalidData: for no pairs at all, lengths that differ, or numbers that are not finite.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.ndim != 2 or y.shape != (len(x),) or len(x) == 0:
        raise InvalidData(f"a predictor learns from x (n, d) and y (n,) with n >= 1, got {x.shape} and {y.shape}")
    if not ((np.isfinite(x) | (missing & np.isnan(x))).all() and np.isfinite(y).all()):
        raise InvalidData("a predictor learns from finite numbers only; leave failed evaluations out")
    return x, y


def checked_values(y: Array, n: int) -> Array:
    """``y`` as float64.

    Raises:
        InvalidData: for another number than ``n``, or numbers that are not finite.
    """
    y = np.asarray(y, dtype=float)
    if y.shape != (n,):
        raise InvalidData(f"a predictor learns one value an encoding, got {y.shape} for {n}")
    if not np.isfinite(y).all():
        raise InvalidData("a predictor learns from finite numbers only; leave failed evaluations out")
    return y


def standardised(y: Array) -> tuple[float, float, Array]:
    """Mean, standard deviation (0 for constant values) and ``y`` with both taken out."""
    shift, scale = float(y.mean()), float(y.std())
    if scale <= 1e-12 * max(1.0, abs(shift)):
        return shift, 0.0, np.zeros_like(y)
    return shift, scale, (y - shift) / scale


def mid_ranks(y: Array) -> Array:
    """The share of ``y (n,)`` that is smaller, equal ones counted half: between 0 and 1, ``(n,)``."""
    _, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    return np.asarray(((np.cumsum(counts) - 0.5 * counts) / max(1, len(y)))[inverse])


def normal_scores(y: Array) -> Array:
    """The normal quantiles of the mid-ranks of ``y (n,)``; ties stay ties, constant values are all 0."""
    from scipy.special import ndtri

    return np.asarray(ndtri(mid_ranks(y)))
