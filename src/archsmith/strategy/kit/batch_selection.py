"""Which of many predicted designs to measure: those that together would add most to the measured front."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archsmith.pareto import hypervolume, is_non_dominated
from archsmith.strategy.kit.hypervolume_improvement import REFERENCE
from archsmith.strategy.kit.variation import Floats, best_first

CANDIDATES = 200


def spread(costs: Floats, violations: Floats, measured: Floats, broken: Floats, n: int) -> list[int]:
    """Indices of up to ``n`` of the predicted designs, best first; fewer where the rest would add nothing.

    Args:
        costs: predicted, ``(k, m)``.
        violations: predicted, ``(k,)``; feasible designs come first, and where there are none those that break least.
        measured: costs measured so far, ``(h, m)`` with ``h >= 1``.
        broken: their violations, ``(h,)``.
        n: how many.
    """
    if n <= 0:
        return []
    feasible = np.flatnonzero(violations == 0)
    if not feasible.size:
        return [int(i) for i in np.argsort(violations, kind="stable")[:n]]
    if costs.shape[1] == 1:
        return [int(feasible[i]) for i in np.argsort(costs[feasible, 0], kind="stable")[:n]]
    base = measured[broken == 0]
    box = base if len(base) > 1 else measured
    low, span = box.min(axis=0), np.ptp(box, axis=0)
    span = np.where(span > 0, span, 1.0)
    front = feasible[best_first(costs[feasible], np.zeros(len(feasible)), CANDIDATES)]
    front = front[is_non_dominated(costs[front])]
    return [int(front[i]) for i in _greedy((costs[front] - low) / span, (base - low) / span, n)]


def _greedy(points: Floats, base: Floats, n: int) -> list[int]:
    """Greedy hypervolume picks. Gains only shrink as picks are added, so that stale ones are upper bounds."""
    reference = np.full(points.shape[1], REFERENCE)
    base = _inside(base, reference)
    volume = hypervolume(base, reference) if len(base) else 0.0
    gains: NDArray[np.float64] = np.array([_volume(base, p, reference) for p in points]) - volume
    fresh = np.ones(len(points), dtype=bool)
    found: list[int] = []
    while len(found) < n:
        best = int(np.argmax(gains))
        if gains[best] <= 1e-12:
            break
        if fresh[best]:
            found.append(best)
            volume += gains[best]
            base = _inside(np.concatenate([base, points[[best]]]), reference)
            gains[best], fresh[:] = 0.0, False
        else:
            gains[best], fresh[best] = _volume(base, points[best], reference) - volume, True
    return found


def _volume(base: Floats, point: Floats, reference: Floats) -> float:
    return float(hypervolume(np.concatenate([base, point[None]]), reference))


def _inside(points: Floats, reference: Floats) -> Floats:
    """The front of the points that lie below the reference."""
    points = points[(points < reference).all(axis=1)]
    return points[is_non_dominated(points)] if len(points) else points
