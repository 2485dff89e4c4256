"""The result of a search in sentences, for the report and the terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from archsmith.evaluation import Evaluation
from archsmith.feasibility import extreme, nearest, nearest_text, trade_offs
from archsmith.quantities import counted, limit_text, number, with_unit
from archsmith.report.data import ReportData


def best_found(data: ReportData) -> str:
    """The best trade-offs in one sentence, or why there are none."""
    best = shown(data)
    if not best:
        return _why_none(data)
    spans = [_span(data, o.metric, [e[o.metric] for e in best]) for o in reversed(data.objectives)]
    between = " from " if re.match(r"[-\d.]+ to ", spans[0]) else ": "
    return counted(len(best), "network") + between + ", ".join(spans)


def verdict(data: ReportData) -> str:
    """Which limits the networks meet; empty without limits or networks."""
    if not data.limits or not shown(data):
        return ""
    limits = " and ".join(limit_text(x, data.metric(x.metric).unit) for x in data.limits)
    again = ", measured again at full effort" if any(n.final is not None for n in data.handed_out) else ""
    dropped = sum(bool(n.dropped) for n in data.networks)
    rest = (
        f" {counted(dropped, 'network')} {'was' if dropped == 1 else 'were'} dropped at that check." if dropped else ""
    )
    whom = "All of them meet" if len(shown(data)) > 1 else "It meets"
    return f"{whom} {limits}{again}.{rest}"


def shown(data: ReportData) -> Sequence[Evaluation]:
    """The evaluations of the front: final ones where the search has ended."""
    return [n.best_known for n in data.handed_out] if data.networks else data.front


def largest_text(data: ReportData) -> str:
    """The largest network's values; empty where it was not evaluated."""
    if data.largest is None or not data.largest.ok:
        return ""
    found = data.largest.values
    values = [
        with_unit(found[o.metric].value, unit)
        + ("" if unit not in ("", "1") else f" {o.metric}")
        + (" (predicted)" if found[o.metric].source == "predicted" else "")
        for o in reversed(data.objectives)
        if o.metric in found and (unit := data.metric(o.metric).unit) is not None
    ]
    return f"The largest network: {', '.join(values)}." if values else ""


def _span(data: ReportData, metric: str, values: Sequence[float]) -> str:
    unit = data.metric(metric).unit
    low, high = number(min(values), unit), with_unit(max(values), unit)
    name = f"{metric} " if unit in ("", "1") else ""
    return f"{name}{high}" if low == number(max(values), unit) else f"{name}{low} to {high}"


def _why_none(data: ReportData) -> str:
    done = data.evaluations
    if not done:
        return "Nothing has been evaluated yet"
    if len(data.failed) == len(done):
        return f"All {counted(len(done), 'evaluation')} failed"
    if data.networks and data.front:
        return "No network is left: each broke a limit when it was measured again"
    worst = min(data.limits, key=lambda x: sum(x.violation(e) == 0 for e in done if e.ok), default=None)
    if worst is None:
        return "No network was evaluated in full"
    if any(worst.violation(e) == 0 for e in done if e.ok):
        return f"No network meets all limits at once: {trade_offs(data.limits, done)}"
    best = nearest(worst, done)
    found = f"the {extreme(worst)} found is {nearest_text(worst, best)}" if best else "no network has a value of it"
    return f"No network meets {limit_text(worst, data.metric(worst.metric).unit)}: {found}"
