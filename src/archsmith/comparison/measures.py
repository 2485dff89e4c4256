"""The figures of single searches, and what several of them say together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from archsmith.comparison.landscape import Floats, Landscape, evaluations_to
from archsmith.comparison.record import SearchRecord

LEVELS = (90.0, 95.0, 99.0, 99.9)
"""Percent of the best hypervolume until which evaluations are counted."""
POINTS = 45
"""Of a curve that is drawn, spread evenly on a logarithmic scale."""
LATE = 0.1
"""The last part of a search, whose overhead is given apart: most strategies slow down as they learn."""


@dataclass(frozen=True)
class SearchRun:
    """One search, measured.

    Args:
        record: what it did.
        shares: hypervolume after each evaluation, 1 is the best front's, ``(t,)``.
        box: the same in the best front's own box; ``None`` where that has no volume.
        distances: IGD+ after each evaluation.
        best: the best value of each objective so far, in its unit, ``(t, m)``.
        gap: of a single objective, how far the best value is from the table's, ``(t,)``.
    """

    record: SearchRecord
    shares: Floats
    box: Floats | None
    distances: Floats
    best: Floats
    gap: Floats | None

    @property
    def seed(self) -> int:
        """Of the search."""
        return self.record.seed

    def reached(self, budget: int) -> float:
        """The figure that problems are compared by: evaluations to the highest level but one, or near enough.

        Returns:
            ``budget + 1`` where it was not reached.
        """
        return min(self.evaluations_to(self.key_level), budget + 1.0)

    @property
    def key_level(self) -> str:
        """``"99"``, or ``"within"`` for a single objective with a tolerance."""
        return "within" if self.gap is not None and self.record.within is not None else "99"

    def evaluations_to(self, level: str) -> float:
        """Evaluations to a level in percent as text, or ``"within"``; infinite where it was not reached."""
        if level == "within":
            if self.gap is None or self.record.within is None:
                return math.inf
            found = evaluations_to(-self.gap, -self.record.within)
        else:
            found = evaluations_to(self.shares, float(level) / 100)
        return math.inf if found is None else float(found)


def measured(record: SearchRecord, values: Floats, land: Landscape, budget: int) -> SearchRun:
    """Measure a search by its ``values (t, m)``, NaN for failed ones, up to ``budget`` evaluations.

    A search that ended before counts on with what it had.
    """
    values = values[:budget]
    costs = land.costs(values)
    signs = np.array([1.0 if o.goal == "min" else -1.0 for o in land.objectives])
    signed = np.where(np.isnan(values).any(axis=1, keepdims=True), np.inf, values * signs)
    best = np.minimum.accumulate(signed, axis=0)
    box = land.box_shares(costs)
    gap = best[:, 0] - (land.best * signs)[0] if len(land.objectives) == 1 else None
    return SearchRun(
        record,
        _held(land.shares(costs), budget),
        None if box is None else _held(box, budget),
        _held(land.distances(costs), budget),
        _held(best * signs, budget),
        None if gap is None else _held(gap, budget),
    )


def _held(curve: Floats, length: int) -> Floats:
    return np.concatenate([curve, np.repeat(curve[-1:], length - len(curve), axis=0)])


def result(runs: Sequence[SearchRun], land: Landscape, budget: int) -> dict[str, Any]:
    """What the searches of one strategy on one problem say together; plain data."""
    levels = [f"{level:g}" for level in LEVELS] + (["within"] if runs[0].key_level == "within" else [])
    boxes = [r.box[-1] for r in runs if r.box is not None]
    late = max(1, int(LATE * budget))
    at = np.unique(np.geomspace(1, budget, POINTS).astype(int))
    curves = np.stack([r.shares[at - 1] for r in runs])
    return {
        "seeds": sorted(r.seed for r in runs),
        "budget": budget,
        "key_level": runs[0].key_level,
        "evaluations_to": {level: _hits([r.evaluations_to(level) for r in runs]) for level in levels},
        "hypervolume": spread([r.shares[-1] for r in runs]),
        "area": spread([float(r.shares.mean()) for r in runs]),
        "box_hypervolume": spread(boxes) if boxes else None,
        "igd_plus": spread([r.distances[-1] for r in runs], digits=6),
        "cpu_s": spread([sum(r.record.cpu_ms[:budget]) / 1e3 for r in runs], digits=3),
        "ms_each": spread([float(np.mean(r.record.cpu_ms[:budget])) for r in runs], digits=3),
        "ms_late": spread([float(np.mean(r.record.cpu_ms[:budget][-late:])) for r in runs], digits=3),
        "improvement": {
            o.metric: spread([_improvement(r.best[-1, j], land.mean[j], o.goal) for r in runs])
            for j, o in enumerate(land.objectives)
        },
        "ended_early": sum(len(r.record.positions) < budget for r in runs),
        "code": sorted({r.record.code for r in runs}),
        "curve": {
            "at": at.tolist(),
            **{
                name: np.round(np.quantile(curves, q, axis=0), 4).tolist()
                for name, q in (("low", 0.25), ("median", 0.5), ("high", 0.75))
            },
        },
    }


def _improvement(best: float, average: float, goal: str) -> float:
    """How much better than the average architecture, as a share of its value."""
    better = best - average if goal == "max" else average - best
    return better / abs(average) if average and math.isfinite(best) else 0.0  # nothing found, nothing gained


def spread(values: Sequence[float], digits: int = 5) -> dict[str, float]:
    """Median, quartiles and mean."""
    low, median, high = np.quantile(np.asarray(values, dtype=float), [0.25, 0.5, 0.75]).tolist()
    found = {"median": median, "low": low, "high": high, "mean": float(np.mean(values))}
    return {name: round(value, digits) for name, value in found.items()}


def _hits(values: Sequence[float]) -> dict[str, Any]:
    """Median and quartiles, ``None`` where so many did not get there; and how many did."""
    quantiles = {name: quantile(values, q) for name, q in (("median", 0.5), ("low", 0.25), ("high", 0.75))}
    found: dict[str, Any] = {name: value if math.isfinite(value) else None for name, value in quantiles.items()}
    return found | {"reached": sum(map(math.isfinite, values))}


def quantile(values: Sequence[float], q: float) -> float:
    """A quantile by linear interpolation that may be infinite, where numpy's is not a number.

    >>> quantile([1, 3, float("inf")], 0.5), quantile([1, float("inf")], 0.5)
    (3.0, inf)
    """
    ordered = sorted(map(float, values))
    place = q * (len(ordered) - 1)
    below, part = int(place), place - int(place)
    if part == 0:
        return ordered[below]
    low, high = ordered[below], ordered[below + 1]
    return math.inf if math.isinf(high) else low + part * (high - low)
