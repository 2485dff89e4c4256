"""Numbers with units, intervals and limits as text, for reports and the terminal."""

from __future__ import annotations

import math

from archsmith.metric import Limit
from archsmith.value import Value


def number(value: float, unit: str) -> str:
    """``value`` as text, rounded as suits its unit, without the unit.

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


def counted(n: int, noun: str) -> str:
    """``1 network``, ``2 networks``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
