"""The survival score of AGE-MOEA: proximity and diversity in the norm that fits the front (Panichella 2019)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archsmith.strategy.kit.variation import Floats

TINY = 1e-8
LEAST_NORM, LARGEST_NORM = 0.1, 20.0
"""Beyond these the estimate is meaningless, or powers overflow."""


def survival_scores(costs: Floats, ranks: NDArray[np.integer]) -> Floats:
    """The score of each of ``costs (n, m)`` among those of its front; more is better, infinite at the corners.

    Args:
        costs: finite, ``(n, m)``.
        ranks: of their fronts, ``(n,)``, 0 for the first.
    """
    scores = np.zeros(len(costs))
    first = costs[ranks == 0]
    ideal = first.min(axis=0)
    front = first - ideal
    corners = _corners(front)
    span = _intercepts(front, corners)
    front = front / span
    norm = _norm(front, corners)
    scores[ranks == 0] = _spread(front, corners, norm)
    behind = ranks > 0
    distance = _length(np.maximum(costs[behind] - ideal, 0.0) / span, norm)
    scores[behind] = 1.0 / np.maximum(distance, TINY)
    return scores


def _corners(front: Floats) -> list[int]:
    """For each axis the member nearest to it, each member once; all members of a front smaller than that."""
    n, m = front.shape
    if n <= m:
        return list(range(n))
    lines = np.eye(m) + 1e-6
    lines /= np.linalg.norm(lines, axis=1, keepdims=True)
    along = front @ lines.T
    off = (front**2).sum(axis=1, keepdims=True) - along**2
    found: list[int] = []
    for axis in range(m):
        off[found] = np.inf
        found.append(int(np.argmin(off[:, axis])))
    return found


def _intercepts(front: Floats, corners: list[int]) -> Floats:
    """Where the hyperplane through the corners meets the axes; the front's extent where there is no such plane."""
    extent = front.max(axis=0)
    extent = np.where(extent > 0, extent, 1.0)
    if len(corners) < front.shape[1]:
        return extent
    try:
        plane = np.linalg.solve(front[corners], np.ones(front.shape[1]))
    except np.linalg.LinAlgError:
        return extent
    fits = np.isfinite(plane).all() and (plane > TINY).all() and (plane < 1 / TINY).all()
    return np.asarray(1.0 / plane if fits else extent, dtype=np.float64)


def _norm(front: Floats, corners: list[int]) -> float:
    """The p of the p-norm in which the most central member, corners aside, has length 1."""
    n, m = front.shape
    if n <= len(corners) or m == 1:
        return 1.0
    off = (front**2).sum(axis=1) - front.sum(axis=1) ** 2 / m  # squared distance from the diagonal
    off[corners] = np.inf
    mean = float(front[np.argmin(off)].mean())
    if not 0 < mean < 1:
        return 1.0
    p = float(np.log(m) / -np.log(mean))
    return min(p, LARGEST_NORM) if p > LEAST_NORM else 1.0


def _length(points: Floats, p: float) -> Floats:
    length: Floats = (np.abs(points) ** p).sum(axis=-1) ** (1 / p)
    return length


def _spread(front: Floats, corners: list[int], p: float) -> Floats:
    """Scores of the first front: one after the other the member farthest from its two nearest kept neighbours."""
    n = len(front)
    scores = np.full(n, np.inf)
    near = np.maximum(_length(front, p), TINY)
    distances = np.maximum(_length(front[:, None] - front[None], p), TINY) / near[:, None]
    left = np.ones(n, dtype=bool)
    left[corners] = False
    nearest = np.full((n, 2), np.inf)  # the two smallest distances to what is kept
    for kept in corners:
        _note(nearest, distances[:, kept])
    while left.any():
        total = np.where(np.isfinite(nearest), nearest, 0.0).sum(axis=1)
        best = int(np.argmax(np.where(left, total, -1.0)))
        scores[best] = total[best]
        left[best] = False
        _note(nearest, distances[:, best])
    return scores


def _note(nearest: Floats, distance: Floats) -> None:
    """Keep the two smallest of ``nearest (n, 2)``, which ascend, and ``distance (n,)``."""
    nearest[:, 1] = np.minimum(nearest[:, 1], np.maximum(nearest[:, 0], distance))
    nearest[:, 0] = np.minimum(nearest[:, 0], distance)
