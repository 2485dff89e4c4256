"""The Pareto front, non-dominated ranks, and crowding distance."""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from archsmith.pareto._checks import checked


def is_non_dominated(costs: ArrayLike) -> NDArray[np.bool_]:
    """Mark the Pareto front of ``costs (n, m)``, ``(n,)``; equal rows are all kept, rows that are not finite never.

    >>> is_non_dominated([[1, 2], [2, 1], [2, 2], [1, 2], [0, float("inf")]]).tolist()
    [True, True, False, True, False]
    """
    array, finite = checked(costs)
    front = np.zeros(len(array), dtype=bool)
    if finite.any():
        front[finite] = moocore.is_nondominated(array[finite], keep_weakly=True)
    return front


def non_dominated_rank(costs: ArrayLike) -> NDArray[np.intp]:
    """Rank of each of ``costs (n, m)``: 0 on the front, 1 on the front without those, and so on.

    Equal rows share a rank; rows that are not finite come after all others.
    """
    array, finite = checked(costs)
    ranks = np.zeros(len(array), dtype=np.intp)
    if finite.any():
        ranks[finite] = moocore.pareto_rank(array[finite])
        ranks[~finite] = ranks[finite].max() + 1
    return ranks


def crowding_distance(costs: ArrayLike) -> NDArray[np.float64]:
    """Crowding distance (Deb et al. 2002) of each of ``costs (n, m)``, which are one front.

    The sum over objectives of the gap between a point's two neighbours as a share of the objective's range;
    infinite at either end of an objective that varies. In the paper, ties depend on the order of the points; here
    equal rows count once: the first has the distance, the others 0. Rows that are not finite have 0.
    """
    array, finite = checked(costs)
    distance = np.zeros(len(array))
    if not finite.any():
        return distance
    points, first = np.unique(
        array[finite], axis=0, return_index=True
    )  # sorted, so that the input's order does not matter
    of_points = np.zeros(len(points))
    order = np.argsort(points, axis=0, kind="stable")
    for objective, by in enumerate(order.T):
        values = points[by, objective]
        span = values[-1] - values[0]
        if span > 0:
            of_points[by[1:-1]] += (values[2:] - values[:-2]) / span
            of_points[by[[0, -1]]] = np.inf
    if len(points) == 1:
        of_points[:] = np.inf
    distance[np.flatnonzero(finite)[first]] = of_points
    return distance
