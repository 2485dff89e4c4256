"""The table of the front: every network with its values, files and the command that exports it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from archsmith.evaluation import Evaluation
from archsmith.metric import Limit, Objective
from archsmith.quantities import interval, number
from archsmith.report.data import FinalNetwork, ReportData
from archsmith.report.markup import Markup, command, details, element, join, table
from archsmith.report.text import shown
from archsmith.value import Value


def section(data: ReportData) -> Markup | None:
    """The networks with their values in the search and in the last check; empty where there is none."""
    best = shown(data)
    if not best:
        return None
    rows = data.handed_out or [FinalNetwork(e.architecture.key[:8], e) for e in best]
    columns = metric_columns(data, best)
    again = [o.metric for o in data.objectives if any(_moved(n, o.metric) for n in rows)]
    head: list[Markup] = [element("span", "network")]
    for name in columns:
        head += [_heading(data, name, best)]
        if name in again:
            predicted = any(_is_predicted(n.evaluation, name) for n in rows)
            small = "by the search, predicted" if predicted else "by the search"
            head += [element("span", "believed", element("small", small))]
    head += [element("span", "files")] if any(n.files for n in rows) else []
    head += [element("span", "architecture")]
    body = [_row(data, n, columns, again, files=any(n.files for n in rows)) for n in rows]
    numeric = range(1, 1 + len(columns) + len(again))
    return element(
        "section",
        element("h2", "The networks" if data.networks else "The networks, as the search saw them"),
        element("p", _explanation(data, again), cls="note"),
        table(head, body, label="Networks of the Pareto front", numeric=numeric),
        *_commands(data, rows),
    )


def metric_columns(data: ReportData, best: Sequence[Evaluation]) -> list[str]:
    """The metrics of a table of networks: objectives, limits, then the rest; the test split after its metric."""
    wanted = [o.metric for o in data.objectives] + [x.metric for x in data.limits]
    wanted += [name for e in best for name in e.values]
    order: list[str] = []
    for name in dict.fromkeys(wanted):
        beside = name.removeprefix("test_")
        if name not in order and any(name in e.values for e in best):
            order.insert(order.index(beside) + 1 if name != beside and beside in order else len(order), name)
    return order


def _explanation(data: ReportData, again: Sequence[str]) -> str:
    text = "Small figures are 95 % intervals."
    if again:
        text += " The values are those measured again at full effort; the search's values are beside them."
    if any(name.startswith("test_") for n in data.handed_out for name in n.best_known.values):
        text += " The search used the validation split only, never the test split."
    return text


def _is_predicted(evaluation: Evaluation, metric: str) -> bool:
    return metric in evaluation.values and evaluation.values[metric].source == "predicted"


def _heading(data: ReportData, name: str, best: Sequence[Evaluation]) -> Markup:
    unit = data.metric(name).unit
    sources = " / ".join(dict.fromkeys(e.values[name].source for e in best if name in e.values))
    small = f"{unit}, {sources}" if unit not in ("", "1") else sources
    return element("span", name, element("small", small), title=data.metric(name).description or None)


def _row(
    data: ReportData, network: FinalNetwork, columns: Sequence[str], again: Sequence[str], *, files: bool
) -> list[Markup | str]:
    cells: list[Markup | str] = [element("code", network.name)]
    for name in columns:
        unit = data.metric(name).unit
        cells.append(_value(network.best_known.values.get(name), unit))
        if name in again:
            cells.append(_value(network.evaluation.values.get(name), unit))
    if files:
        cells.append(_files(network))
    chosen = element("code", str(network.evaluation.architecture), cls="architecture")
    cells.append(details(f"{len(network.evaluation.architecture.choices)} choices", chosen))
    return cells


def _value(value: Value | None, unit: str) -> Markup | str:
    if value is None:
        return "–"
    return join([number(value.value, unit), element("small", interval(value, unit)) if value.has_interval else None])


def _files(network: FinalNetwork) -> Markup:
    lines = [element("small", element("code", path), f" {size(n)}") for path, n in network.files.items()]
    certified = (network.certificate or {}).get("line")
    return details(f"{len(network.files)} files", *lines, element("small", str(certified)) if certified else None)


def _commands(data: ReportData, rows: Sequence[FinalNetwork]) -> list[Markup]:
    run = shlex.quote(data.run)
    middle = rows[len(rows) // 2]
    objective = data.objectives[-1]
    value = middle.best_known.values[objective.metric]
    bound = _just_within(objective, value)
    return [
        element("h3", "Export one"),
        command(f"archsmith export {run} --name {shlex.quote(middle.name)}"),
        element(
            "p",
            f"Or the best one within a limit of yours, such as {bound}:",
            cls="note",
        ),
        command(f"archsmith export {run} --pick {shlex.quote(str(bound))}"),
    ]


def _just_within(objective: Objective, value: Value) -> Limit:
    """A limit with three digits that ``value`` meets with its pessimistic end."""
    end = value.high if objective.goal == "min" else value.low
    step = max(10.0 ** (math.floor(math.log10(abs(end))) - 2), 1e-300) if end else 1.0
    towards = math.ceil if objective.goal == "min" else math.floor
    return Limit(
        objective.metric, "<=" if objective.goal == "min" else ">=", float(f"{towards(end / step) * step:.6g}")
    )


def _moved(network: FinalNetwork, metric: str) -> bool:
    """Whether a metric was measured again, with another value."""
    if network.final is None or metric not in network.final.values:
        return False
    return network.final.values[metric] != network.evaluation.values.get(metric)


def size(n: int) -> str:
    """A number of bytes as text.

    >>> size(900), size(250_000), size(3_200_000)
    ('900 B', '244 KiB', '3.05 MiB')
    """
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n >= factor:
            return f"{n / factor:.3g} {unit}"
    return f"{n} B"
