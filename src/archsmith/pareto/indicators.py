"""Indicators of the quality of a set of points: hypervolume, IGD+."""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from archsmith.errors import InvalidOption
from archsmith.pareto._checks import checked, corner


def hypervolume(costs: ArrayLike, reference: ArrayLike) -> float:
    """Volume that ``costs (n, m)`` dominate within ``reference (m,)``; points outside it add nothing.

    >>> hypervolume([[1, 2], [2, 1], [9, 0]], [3, 3])
    3.0
    """
    array, finite = checked(costs)
    point = corner(reference, array.shape[1], "reference point")
    inside = finite & (array < point).all(axis=1)
    return float(moocore.hypervolume(array[inside], point)) if inside.any() else 0.0


def hypervolume_contributions(costs: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """What each of ``costs (n, m)`` adds: the hypervolume of all less that of all others, ``(n,)``.

    Points that are dominated, repeated or outside the reference add 0.
    """
    array, finite = checked(costs)
    point = corner(reference, array.shape[1], "reference point")
    inside = finite & (array < point).all(axis=1)
    found = np.zeros(len(array))
    if not inside.any():
        return found
    if array.shape[1] == 1:  # moocore has no such case: only the best point adds, up to the second best
        values = np.append(array[:, 0], point)
        best, second = np.argsort(values, kind="stable")[:2]
        found[best] = values[second] - values[best]
    else:
        found[inside] = moocore.hv_contributions(array[inside], point, ignore_dominated=False)
    return found


def igd_plus(costs: ArrayLike, front: ArrayLike) -> float:
    """Modified inverted generational distance (Ishibuchi et al. 2015) of ``costs (n, m)`` to the best ``front (k, m)``.

    The mean over the front's points of the smallest distance by which a point of ``costs`` is worse; 0 where the
    front is reached everywhere, infinite without points.

    Raises:
        InvalidOption: for an empty or infinite front, or another number of objectives.
    """
    array, finite = checked(costs)
    target, known = checked(front)
    if not len(target) or not known.all() or target.shape[1] != array.shape[1]:
        raise InvalidOption(f"the front holds one or more finite points of {array.shape[1]} objectives, got {front!r}")
    return float(moocore.igd_plus(array[finite], target)) if finite.any() else float("inf")


def normalise(costs: ArrayLike, ideal: ArrayLike, nadir: ArrayLike) -> NDArray[np.float64]:
    """``costs (n, m)`` with ``ideal (m,)`` moved to 0 and ``nadir (m,)`` to 1; where both are equal, only moved."""
    array, _ = checked(costs)
    low = corner(ideal, array.shape[1], "ideal point")
    span = corner(nadir, array.shape[1], "nadir point") - low
    if (span < 0).any():
        raise InvalidOption(f"the nadir point lies below the ideal point by {span.min():g}; exchange the two")
    scaled: NDArray[np.float64] = (array - low) / np.where(span > 0, span, 1.0)
    return scaled
