"""Measures of single searches, and their statistics over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from archsmith.comparison.landscape import Floats, Landscape, evaluations_to
from archsmith.comparison.record import SearchRecord

LEVELS = (90.0, 95.0, 99.0, 99.9)
"""Percentages of the best hypervolume; evaluations are counted until each is reached."""
CURVE_POINTS = 45
"""Points of a drawn curve, evenly spaced on a logarithmic scale."""
LATE_SHARE = 0.1
"""The last part of a search, whose overhead is reported separately: most strategies slow down as they learn."""


@dataclass(frozen=True)
class SearchRun:
    """One search, measured.

    Args:
        record: of the search.
        shares: hypervolume after each evaluation, as a share of the best front's, ``(t,)``.
        box: the same in the best front's own box; ``None`` where that has no volume.
        distances: IGD+ after each evaluation, ``(t,)``.
        best: the best value of each objective so far, in its unit, ``(t, m)``.
        gap: for a single objective, the best value's distance from the table's best, ``(t,)``.
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
        """Evaluations to :attr:`key_level`, by which strategies are ranked; ``budget + 1`` where it was not reached."""
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

    The curves of a search that ended earlier are continued with their last values.
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
    """Statistics over the searches of one strategy on one problem; plain data."""
    levels = [f"{level:g}" for level in LEVELS] + (["within"] if runs[0].key_level == "within" else [])
    boxes = [r.box[-1] for r in runs if r.box is not None]
    late = max(1, int(LATE_SHARE * budget))
    at = np.unique(np.geomspace(1, budget, CURVE_POINTS).astype(int))
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
    """How much better the best value is than the average architecture's, as a share of the latter."""
    better = best - average if goal == "max" else average - best
    return better / abs(average) if average and math.isfinite(best) else 0.0


def spread(values: Sequence[float], digits: int = 5) -> dict[str, float]:
    """Median, quartiles and mean."""
    low, median, high = np.quantile(np.asarray(values, dtype=float), [0.25, 0.5, 0.75]).tolist()
    found = {"median": median, "low": low, "high": high, "mean": float(np.mean(values))}
    return {name: round(value, digits) for name, value in found.items()}


def _hits(values: Sequence[float]) -> dict[str, Any]:
    """Median and quartiles, ``None`` where they were not reached; and how many searches reached the level."""
    quantiles = {name: quantile(values, q) for name, q in (("median", 0.5), ("low", 0.25), ("high", 0.75))}
    found: dict[str, Any] = {name: value if math.isfinite(value) else None for name, value in quantiles.items()}
    return found | {"reached": sum(map(math.isfinite, values))}


def quantile(values: Sequence[float], q: float) -> float:
    """A quantile by linear interpolation; infinite among infinite values, where NumPy's is NaN.

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
