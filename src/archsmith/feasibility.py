"""Which evaluations meet the limits, and the message when none does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archsmith.evaluation import Evaluation, costs
from archsmith.metric import KNOWN_METRICS, Limit, Objective
from archsmith.pareto import is_non_dominated
from archsmith.quantities import limit_text, with_unit


def on_front(
    evaluations: Sequence[Evaluation], objectives: Sequence[Objective], limits: Sequence[Limit]
) -> NDArray[np.bool_]:
    """Which evaluations meet all limits and are dominated by no other one that does, ``(n,)``."""
    mark = np.array([e.feasible(limits) for e in evaluations], dtype=bool)
    if mark.any():
        feasible = [e for e, allowed in zip(evaluations, mark, strict=True) if allowed]
        mark[mark] = is_non_dominated(costs(feasible, objectives))
    return mark


def nearest(limit: Limit, evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The evaluation that comes nearest to a limit, or is farthest within it; ``None`` where none has the metric."""
    known = [e for e in evaluations if e.ok and limit.metric in e.values]
    return min(known, key=lambda e: _end(limit, e) * (1 if limit.sense == "<=" else -1), default=None)


def infeasible(limits: Sequence[Limit], evaluations: Sequence[Evaluation], *, among: str = "") -> str:
    """Why no evaluation meets all limits: the first limit that none meets, else how the limits conflict.

    Args:
        limits: absolute.
        evaluations: of which none meets all limits.
        among: what they are, such as ``"6 networks that were tried"``; ``"N evaluations"`` unless given.

    Returns:
        A sentence without its full stop; empty where some evaluation meets every limit.
    """
    among = among or f"{len(evaluations)} evaluations"
    if any(e.feasible(limits) for e in evaluations):
        return ""
    if evaluations and not any(e.ok for e in evaluations) and not limits:
        return f"all {among} failed; the first: {evaluations[0].reason}"
    for limit in limits:
        if not any(e.ok and limit.violation(e) == 0 for e in evaluations):
            return nothing_meets(limit, evaluations, among=among)
    return f"no network of {among} meets {', '.join(map(str, limits))} at once: {trade_offs(limits, evaluations)}"


def nothing_meets(
    limit: Limit, evaluations: Sequence[Evaluation], *, among: str, written: str = "", called: str = ""
) -> str:
    """The message for a limit that no evaluation meets: the nearest value, and the network that has it.

    Args:
        limit: absolute.
        evaluations: none of which meets it.
        among: what they are, such as ``"20 evaluations"``.
        written: the limit as the user wrote it, where that differs.
        called: a name for the nearest network; its choices unless given.
    """
    best = nearest(limit, evaluations)
    if best is None:
        last = next((e.reason for e in reversed(evaluations) if e.reason), f"none measures {limit.metric}")
        return f"nothing meets {written or limit}: {among} gave no {limit.metric} ({last})"
    value = best.values[limit.metric]
    interval = f" (95 % interval {value.low:.4g} to {value.high:.4g})" if value.has_interval else ""
    return (
        f"nothing meets {written or limit}: the {extreme(limit)} {limit.metric} among {among} is "
        f"{value.value:.4g}{interval}, of {called or f'the architecture {best.architecture}'}"
    )


def trade_offs(limits: Sequence[Limit], evaluations: Sequence[Evaluation]) -> str:
    """For each limit the nearest value among the networks that meet all others: what a user has to choose between."""
    parts = []
    for limit in limits:
        others = [x for x in limits if x is not limit]
        best = nearest(limit, [e for e in evaluations if e.feasible(others)])
        if best is not None and others:
            bounds = " and ".join(limit_text(x, unit_of(x.metric)) for x in others)
            parts.append(f"with {bounds}, the {extreme(limit)} {limit.metric} found is {nearest_text(limit, best)}")
    return "; ".join(parts) or "no network meets all but one of them"


def nearest_text(limit: Limit, best: Evaluation) -> str:
    """The end of the interval that counts against a limit, with its unit."""
    return with_unit(_end(limit, best), unit_of(limit.metric))


def extreme(limit: Limit) -> str:
    """``smallest`` or ``largest``: the value of the metric that is nearest to a limit that nothing meets."""
    return "smallest" if limit.sense == "<=" else "largest"


def unit_of(metric: str) -> str:
    """The unit of one of archsmith's own metrics; empty for others."""
    known = KNOWN_METRICS.get(metric.partition("@")[0])
    return known.unit if known is not None else ""


def _end(limit: Limit, evaluation: Evaluation) -> float:
    """The pessimistic end of the interval: the one that counts against the limit."""
    value = evaluation.values[limit.metric]
    return value.high if limit.sense == "<=" else value.low
