"""Checks of the arguments of this folder's functions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archsmith.errors import InvalidOption

Costs = NDArray[np.float64]


def checked(costs: ArrayLike) -> tuple[Costs, NDArray[np.bool_]]:
    """``costs`` as float64 ``(n, m)``, and which rows are finite.

    Raises:
        InvalidOption: for another shape, or NaN, which cannot be ordered.
    """
    array = np.asarray(costs, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise InvalidOption(f"costs have the shape (points, objectives), got {array.shape}")
    if np.isnan(array).any():
        raise InvalidOption("costs hold NaN, which cannot be compared; give failed evaluations an infinite cost")
    finite = np.asarray(np.isfinite(array).all(axis=1))
    return array, finite


def corner(point: ArrayLike, objectives: int, what: str) -> Costs:
    """One finite point ``(m,)`` with as many coordinates as there are objectives; a single number is repeated.

    Raises:
        InvalidOption: for another length or a coordinate that is not finite.
    """
    array = np.asarray(point, dtype=np.float64)
    if array.ndim == 0:
        array = np.full(objectives, float(array))
    if array.shape != (objectives,) or not np.isfinite(array).all():
        raise InvalidOption(f"the {what} has {objectives} finite coordinates, got {array.tolist()}")
    return array
