"""What models learn from of all that a search was told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archsmith.metric import Limit
from archsmith.predictor import Bound
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.variation import Floats, constrained_ranks

Indices = NDArray[np.intp]


def usable(history: RowHistory) -> Indices:
    """Places of the evaluations that succeeded, in the order told."""
    return np.flatnonzero(history.succeeded)


def learnt_from(history: RowHistory, most: int) -> Indices:
    """Places of the successful evaluations that are learnt from, at most ``most``, in the order told.

    Where there are more, they are the latest half and the best of the others, of equally good ones the later: what
    breaks a limit teaches where the limit is, and what was found last is always learnt from.
    """
    ok = usable(history)
    if len(ok) <= most:
        return ok
    older, latest = ok[: -(most - most // 2)], ok[-(most - most // 2) :]
    ranks = constrained_ranks(history.costs[ok], history.violations[ok])[: len(older)]
    best = older[np.lexsort((-older, ranks))[: most // 2]]
    return np.concatenate([np.sort(best), latest])


def limit_values(history: RowHistory, limit: Limit, at: Indices) -> tuple[Indices, Floats]:
    """What was told of a limited metric: the pessimistic end of each interval, as the limit itself is judged.

    Args:
        history: what is known.
        limit: whose metric is looked up.
        at: places of the evaluations that are looked at.

    Returns:
        Which members of ``at`` have the metric, as indices into ``at``, and their values; ``(k,)`` each.
    """
    told = [history.told[history.keys[int(i)]] for i in at]
    known = np.array([k for k, e in enumerate(told) if limit.metric in e.values], dtype=np.intp)
    ends = [told[k].values[limit.metric] for k in known]
    return known, np.array([v.high if limit.sense == "<=" else v.low for v in ends], dtype=float)


@dataclass(frozen=True)
class Limited:
    """What was measured of a limited metric: as logarithms where all of it, and the limit, are positive.

    Args:
        limit: on the metric.
        at: which of the evaluations that were looked at have the metric, ``(k,)``.
        values: the pessimistic ends measured, on the scale, ``(k,)``.
        logarithmic: whether the scale is a logarithm.
    """

    limit: Limit
    at: Indices
    values: Floats
    logarithmic: bool

    @property
    def bound(self) -> Bound:
        """The limit on the scale."""
        return Bound(float(np.log(self.limit.bound)) if self.logarithmic else self.limit.bound, self.limit.sense)

    def violations(self, values: Floats) -> Floats:
        """By what share of the limit ``values (k,)``, which are on the scale, break it."""
        measured = np.exp(np.clip(values, -700, 700)) if self.logarithmic else values
        broken: Floats = np.maximum(self.bound.sign * (measured - self.limit.bound), 0.0)
        return broken / (abs(self.limit.bound) or 1.0)


def limited(history: RowHistory, at: Indices) -> list[Limited]:
    """For each limit whose metric was measured, what is known of it at ``at``."""
    found = []
    for limit in history.limits:
        known, values = limit_values(history, limit, at)
        if len(known):
            logarithmic = bool(values.min() > 0 and limit.bound > 0)
            found.append(Limited(limit, known, np.log(values) if logarithmic else values, logarithmic))
    return found
