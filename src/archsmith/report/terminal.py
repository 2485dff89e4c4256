"""The front as a table for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from archsmith.quantities import interval, number
from archsmith.report._networks import metric_columns
from archsmith.report.data import FinalNetwork, ReportData
from archsmith.report.macs import macs_against_time, warning
from archsmith.report.text import best_found, shown, verdict
from archsmith.texts import escaped


def front_table(data: ReportData) -> RenderableType:
    """The result in one sentence, the table of networks, and whether they meet the limits.

    Final values where the search has ended; the 95 % interval beside each value that has one.
    """
    parts: list[RenderableType] = [_shown(best_found(data), style="bold")]
    best = shown(data)
    if best:
        parts.append(_table(data))
    reasons = dict.fromkeys(n.dropped for n in data.networks if n.dropped)
    for reason in reasons:
        names = ", ".join(n.name for n in data.networks if n.dropped == reason)
        parts.append(_shown(f"dropped {names}: {reason}", style="yellow"))
    if data.failed:
        parts.append(Text(f"{len(data.failed)} of {len(data.evaluations)} evaluations failed", style="yellow"))
    parts += [_shown(text, style="yellow") for found in macs_against_time(data) if (text := warning(data, found))]
    if text := verdict(data):
        parts.append(_shown(text))
    return Group(*parts)


def _shown(text: str, style: str = "") -> Text:
    """Text without markup, escaped first: rich would drop carriage returns and the like, and hide part of a name."""
    return Text(escaped(text), style=style)


def _table(data: ReportData) -> Table:
    best = shown(data)
    columns = metric_columns(data, best)
    intervals = {name for name in columns if any(name in e.values and e.values[name].has_interval for e in best)}
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    table.add_column("network", no_wrap=True, min_width=8, style="cyan")
    for name in columns:
        unit = data.metric(name).unit
        table.add_column(_shown(_heading(name, unit)), justify="right", no_wrap=True, vertical="bottom")
        if name in intervals:
            table.add_column("95 %", style="dim", no_wrap=True)
    for n in data.handed_out or [FinalNetwork(e.architecture.key[:8], e) for e in best]:
        cells = [n.name]
        for name in columns:
            value, unit = n.best_known.values.get(name), data.metric(name).unit
            cells.append(number(value.value, unit) if value else "–")
            cells += [interval(value, unit) if value else ""] if name in intervals else []
        table.add_row(*map(_shown, cells))
    return table


def _heading(name: str, unit: str) -> str:
    """The name over several lines, so that 80 columns hold the values of five metrics."""
    lines = name.replace("_", "_\n")
    return f"{lines} ({unit})" if unit not in ("", "1", "ms") else lines
