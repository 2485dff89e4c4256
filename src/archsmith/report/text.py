"""How numbers, limits and the answer of a search are written, on paper and on the terminal alike."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from archsmith.evaluation import Evaluation, Value
from archsmith.metric import Limit
from archsmith.report.data import ReportData


def number(value: float, unit: str) -> str:
    """``value`` with the digits that its unit deserves, without the unit.

    >>> number(97.777, "%"), number(2.3456, "ms"), number(183_402, "1"), number(0.00123, "ms")
    ('97.78', '2.35', '183k', '0.00123')
    """
    if unit == "%":
        return f"{value:.2f}"
    if not math.isfinite(value):  # the mean of enormous values
        return f"{value}"
    value = float(f"{value:.3g}") if unit != "1" or abs(value) >= 1e4 else value
    if unit == "1" and abs(value) >= 1e4:
        power = min(4, math.floor(math.log10(abs(value)) / 3))
        return f"{value / 1000**power:.3g}{'kMGT'[power - 1]}"
    if value == int(value) and abs(value) < 1e4:
        return str(int(value))
    decimals = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(decimals, 0)}f}" if decimals < 8 else f"{value:.3g}"


def with_unit(value: float, unit: str) -> str:
    """``value`` with its unit; counts have none.

    >>> with_unit(2.3456, "ms"), with_unit(183_402, "1")
    ('2.35 ms', '183k')
    """
    return f"{number(value, unit)} {unit}" if unit not in ("", "1") else number(value, unit)


def interval(value: Value, unit: str) -> str:
    """The 95 % interval; empty where none is known.

    >>> interval(Value(2.3, "measured", 2.21, 2.4), "ms")
    '2.21–2.40'
    """
    if not value.has_interval:
        return ""
    low, high = number(value.low, unit), number(value.high, unit)
    places = max(len(text.partition(".")[2]) for text in (low, high))
    if places and unit not in ("%", "1"):
        low, high = f"{value.low:.{places}f}", f"{value.high:.{places}f}"
    return f"{low}–{high}"


def limit_text(limit: Limit, unit: str) -> str:
    """Such as ``latency_ms ≤ 3.1 ms``."""
    sign = "≤" if limit.sense == "<=" else "≥"
    bound = f"{limit.bound:g} % of the largest" if limit.relative else with_unit(limit.bound, unit)
    return f"{limit.metric} {sign} {bound}"


def count(n: int, noun: str) -> str:
    """``1 network``, ``2 networks``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def answer(data: ReportData) -> str:
    """The best trade-offs in one sentence, or why there are none."""
    best = shown(data)
    if not best:
        return _no_answer(data)
    spans = [_span(data, o.metric, [e[o.metric] for e in best]) for o in reversed(data.objectives)]
    between = " from " if re.match(r"[-\d.]+ to ", spans[0]) else ": "
    return count(len(best), "network") + between + ", ".join(spans)


def verdict(data: ReportData) -> str:
    """What became of the limits; empty without limits or networks."""
    if not data.limits or not shown(data):
        return ""
    limits = " and ".join(limit_text(x, data.metric(x.metric).unit) for x in data.limits)
    again = ", measured again at full effort" if any(n.final is not None for n in data.handed_out) else ""
    dropped = sum(bool(n.dropped) for n in data.networks)
    rest = f" {count(dropped, 'network')} {'was' if dropped == 1 else 'were'} dropped at that check." if dropped else ""
    whom = "All of them meet" if len(shown(data)) > 1 else "It meets"
    return f"{whom} {limits}{again}.{rest}"


def shown(data: ReportData) -> Sequence[Evaluation]:
    """The evaluations that answer the search: re-measured where the search has ended."""
    return [n.best_known for n in data.handed_out] if data.networks else data.front


def largest_text(data: ReportData) -> str:
    """What the largest network would have cost; empty where it was not evaluated."""
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


def _no_answer(data: ReportData) -> str:
    done = data.evaluations
    if not done:
        return "Nothing has been evaluated yet"
    if len(data.failed) == len(done):
        return f"All {count(len(done), 'evaluation')} failed"
    if data.networks and data.front:
        return "No network is left: each broke a limit when it was measured again"
    worst = min(data.limits, key=lambda x: sum(x.violation(e) == 0 for e in done if e.ok), default=None)
    if worst is None:
        return "No network was evaluated in full"
    if any(worst.violation(e) == 0 for e in done if e.ok):
        return f"No network meets all limits at once: {conflict(data.limits, done, lambda m: data.metric(m).unit)}"
    unit = data.metric(worst.metric).unit
    return f"No network meets {limit_text(worst, unit)}: {_nearest(worst, done, unit)}"


def conflict(limits: Sequence[Limit], evaluations: Sequence[Evaluation], unit: Callable[[str], str]) -> str:
    """For each limit the nearest value among the networks that meet all others; what a user has to choose between.

    Args:
        limits: each met by some network, all of them by none.
        evaluations: what was found.
        unit: of a metric.
    """
    parts = []
    for limit in limits:
        others = [x for x in limits if x is not limit]
        within = [e for e in evaluations if e.ok and limit.metric in e.values and e.feasible(others)]
        if within and others:
            bounds = " and ".join(limit_text(x, unit(x.metric)) for x in others)
            parts.append(f"with {bounds}, {_nearest(limit, within, unit(limit.metric), named=True)}")
    return "; ".join(parts) or "no network meets all but one of them"


def _nearest(limit: Limit, evaluations: Sequence[Evaluation], unit: str, *, named: bool = False) -> str:
    """The value nearest to a limit, by the end of its interval that the limit judges."""
    values = [e.values[limit.metric] for e in evaluations if e.ok and limit.metric in e.values]
    least = limit.sense == "<="
    end = min((v.high for v in values), default=math.nan) if least else max((v.low for v in values), default=math.nan)
    what = f"the {'smallest' if least else 'largest'} {f'{limit.metric} ' * named}found is"
    return f"{what} {with_unit(end, unit)}"
