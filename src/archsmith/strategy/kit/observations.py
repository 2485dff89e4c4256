"""What models learn from of all that a search was told."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archsmith.metric import Limit
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
