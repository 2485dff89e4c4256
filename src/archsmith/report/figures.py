"""Figures as plain data in Plotly's format; colours are CSS variables of the page, for light and dark mode.

Building them needs no package. The page that shows them contains Plotly's script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.evaluation import Evaluation, costs
from archsmith.metric import Objective
from archsmith.pareto import hypervolume, is_non_dominated
from archsmith.quantities import interval, limit_text, number, with_unit
from archsmith.report.data import ReportData
from archsmith.report.macs import MACS, MacsAgainstTime, Pair
from archsmith.report.markup import markup_of
from archsmith.report.text import shown
from archsmith.value import Value

Figure = dict[str, Any]


@dataclass(frozen=True)
class _Look:
    color: str
    symbol: str
    size: int = 10
    opacity: float = 0.9


EVALUATED_LOOK = _Look("var(--evaluated)", "circle", 7, 0.55)
BREAKS_LIMIT_LOOK = _Look("var(--evaluated)", "circle-open", 7)
LOW_FIDELITY_LOOK = _Look("var(--evaluated)", "triangle-up-open", 7)
BASELINE_LOOK = _Look("var(--baseline)", "diamond-open", 8)
LARGEST_LOOK = _Look("var(--ink)", "square-open")
DROPPED_LOOK = _Look("var(--limit)", "x-thin-open")
FRONT_LOOK = _Look("var(--front)", "circle", 11, 1)

DEVICE_METRICS = ("latency_ms", "throughput", "energy_mj")
"""Metrics whose interval every point shows. An accuracy's interval is from the sample of data, which all share."""

REFERENCE = 1.1
"""The reference point in every objective, where 0 is the best and 1 the worst feasible value found."""


def front(data: ReportData, x: Objective, y: Objective) -> Figure:
    """All evaluations with the Pareto front on top; limits are lines, the area that they exclude is shaded."""
    best = list(shown(data))
    fine = [e for e, ok in zip(data.evaluations, data.feasible, strict=True) if ok]
    broken = [e for e in data.evaluations if e.ok and not e.feasible(data.limits) and not e.proposal.fidelity]
    partly = [e for e in data.evaluations if e.ok and e.proposal.fidelity]
    dropped = [n.best_known for n in data.networks if n.dropped]
    layers = [
        (fine, "evaluated", EVALUATED_LOOK),
        (broken, "breaks a limit", BREAKS_LIMIT_LOOK),
        (partly, "evaluated in part", LOW_FIDELITY_LOOK),
        *((found, f"baseline: {name}", BASELINE_LOOK) for name, found in data.baselines.items()),
        ([data.largest] if data.largest is not None else [], "largest network", LARGEST_LOOK),
        (dropped, "dropped", DROPPED_LOOK),
    ]
    traces = [_with_bars(_points(data, some, x, y, name, look), some, x, y) for some, name, look in layers]
    if best:
        traces += [_staircase(best, x, y)] if len(data.objectives) == 2 else []
        traces.append(_front_trace(data, best, x, y))
    everything = [e for some, _, _ in [*layers, (best, "", FRONT_LOOK)] for e in some if _has(e, x, y)]
    return {
        "data": [t for t in traces if t["x"]],
        "layout": {
            "xaxis": _axis(data, x.metric, _range(everything, x.metric)),
            "yaxis": _axis(data, y.metric, _range(everything, y.metric)),
            **_limits(data, x, y, everything),
        },
    }


def progress(data: ReportData, objective: Objective) -> Figure:
    """Every evaluation of a search with one objective, and the best feasible value so far."""
    series = {"search": data.evaluations, **{f"baseline: {n}": b for n, b in data.baselines.items()}}
    traces: list[Figure] = []
    for i, (name, evaluations) in enumerate(series.items()):
        look = BASELINE_LOOK if i else EVALUATED_LOOK
        color = "var(--baseline)" if i else "var(--front)"
        at = [k for k, e in enumerate(evaluations, 1) if _has(e, objective)]
        points = _with_bars(_points(data, evaluations, objective, objective, name, look), evaluations, None, objective)
        traces.append(points | {"x": at, "showlegend": False})
        best = [np.inf] * len(evaluations)
        for k, e in enumerate(evaluations):
            own = objective.cost(e[objective.metric]) if e.feasible(data.limits) else np.inf
            best[k] = min(own, best[k - 1] if k else np.inf)
        steps = [(k, objective.cost(v)) for k, v in enumerate(best, 1) if np.isfinite(v)]
        line = {"shape": "hv", "color": color, "width": 2.5, "dash": "dot" if i else "solid"}
        xs, ys = [k for k, _ in steps], [v for _, v in steps]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"best so far, {markup_of(name)}",
                "x": xs,
                "y": ys,
                "line": line,
            }
        )
    ok = [e for s in series.values() for e in s if e.ok]
    layout = {
        "xaxis": {"title": {"text": "evaluations"}, "rangemode": "tozero"},
        "yaxis": _axis(data, objective.metric, _range(ok, objective.metric)),
    }
    return {"data": [t for t in traces if t["x"]], "layout": layout}


def hypervolumes(data: ReportData) -> dict[str, NDArray[np.float64]]:
    """Share of the objective space that the feasible evaluations cover, after each evaluation.

    Search and baselines share ideal and reference point: in each objective the best feasible value that any of them
    found becomes 0, the worst 1, and the reference point is 1.1.

    Returns:
        Name (``"search"`` first) -> ``(n,)`` in 0..1; empty when nothing is feasible, or values overflow.
    """
    series = {"search": data.evaluations, **data.baselines}
    counted = {
        name: [e if e.feasible(data.limits) and not e.proposal.fidelity else None for e in evaluations]
        for name, evaluations in series.items()
    }
    fine = [e for some in counted.values() for e in some if e is not None]
    if not fine:
        return {}
    every = costs(fine, data.objectives)
    ideal, worst = every.min(axis=0), every.max(axis=0)
    with np.errstate(over="ignore"):
        span = np.where(worst > ideal, worst - ideal, 1.0)
    if not np.isfinite(span).all():  # the range of enormous values overflows
        return {}
    return {name: _covered(some, data.objectives, ideal, span) for name, some in counted.items()}


def _covered(
    evaluations: Sequence[Evaluation | None],
    objectives: Sequence[Objective],
    ideal: NDArray[np.float64],
    span: NDArray[np.float64],
) -> NDArray[np.float64]:
    corner = np.full(len(objectives), REFERENCE)
    best, held, out = np.zeros((0, len(objectives))), 0.0, []
    for e in evaluations:
        if e is not None:
            grown = np.concatenate([best, (costs([e], objectives) - ideal) / span])
            best = grown[is_non_dominated(grown)]
            held = float(hypervolume(best, corner)) / REFERENCE ** len(objectives)
        out.append(held)
    return np.array(out)


def hypervolume_figure(data: ReportData) -> Figure:
    """Hypervolume over evaluations, of the search and of baselines."""
    traces = []
    for i, (name, values) in enumerate(hypervolumes(data).items()):
        line = {"shape": "hv", "width": 2.5, "color": "var(--baseline)" if i else "var(--front)"}
        line["dash"] = "dot" if i else "solid"
        label = f"baseline: {name}" if i else name
        hover = f"{markup_of(label)}: %{{y:.3f}} after %{{x}} evaluations<extra></extra>"
        at, ys = list(range(len(values) + 1)), [0.0, *values.tolist()]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": markup_of(label),
                "x": at,
                "y": ys,
                "line": line,
                "hovertemplate": hover,
            }
        )
    top = max((max(t["y"]) for t in traces), default=1.0)
    layout = {
        "xaxis": {"title": {"text": "evaluations"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "hypervolume"}, "range": [0, min(1.02, top * 1.08 or 1.0)]},
    }
    return {"data": traces, "layout": layout}


def training(data: ReportData) -> Figure:
    """The losses of the supernet's training, by epoch."""
    names = list(dict.fromkeys(k for row in data.training for k in row if k != "epoch"))
    dashes = ("solid", "dot", "dash", "dashdot", "longdash")
    colors = ("var(--front)", "var(--baseline)", "var(--third)", "var(--ink)")
    traces = []
    for i, name in enumerate(names):
        rows = [(row.get("epoch", k), row[name]) for k, row in enumerate(data.training, 1) if name in row]
        line = {"width": 2, "dash": dashes[i % len(dashes)], "color": colors[i % len(colors)]}
        xs, ys = [k for k, _ in rows], [v for _, v in rows]
        traces.append(
            {"type": "scatter", "mode": "lines+markers", "name": markup_of(name), "x": xs, "y": ys, "line": line}
        )
    layout = {"xaxis": {"title": {"text": "epoch"}}, "yaxis": {"title": {"text": "loss"}, "rangemode": "tozero"}}
    return {"data": traces, "layout": layout}


def _points(
    data: ReportData,
    evaluations: Iterable[Evaluation],
    x: Objective,
    y: Objective,
    name: str,
    look: _Look,
) -> Figure:
    some = [e for e in evaluations if _has(e, x, y)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": markup_of(name),
        "x": [e[x.metric] for e in some],
        "y": [e[y.metric] for e in some],
        "hovertext": [_hover(data, e, name) for e in some],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {
            "color": look.color,
            "symbol": look.symbol,
            "size": look.size,
            "opacity": look.opacity,
            "line": {"width": 1.5},
        },
    }


def _front_trace(data: ReportData, best: Sequence[Evaluation], x: Objective, y: Objective) -> Figure:
    ordered = sorted(best, key=lambda e: e[x.metric])
    trace = _points(data, ordered, x, y, "Pareto front", FRONT_LOOK)
    for axis, objective in (("error_x", x), ("error_y", y)):
        trace |= _bars(axis, [e.values[objective.metric] for e in ordered], FRONT_LOOK.color, 1.4)
    trace["marker"]["line"] = {"width": 2, "color": "var(--page)"}
    return trace


def _with_bars(trace: Figure, evaluations: Iterable[Evaluation], x: Objective | None, y: Objective) -> Figure:
    """A trace of ``evaluations`` with the intervals of what was measured on a device."""
    some = [e for e in evaluations if _has(e, *(o for o in (x, y) if o is not None))]
    for axis, objective in (("error_x", x), ("error_y", y)):
        if objective is not None and objective.metric.partition("@")[0] in DEVICE_METRICS:
            trace |= _bars(axis, [e.values[objective.metric] for e in some], trace["marker"]["color"], 1)
    return trace


def _bars(axis: str, values: Sequence[Value], color: str, thickness: float) -> Figure:
    """Error bars of a trace; none where no value has an interval."""
    if not any(v.has_interval for v in values):
        return {}
    above, below = [v.high - v.value for v in values], [v.value - v.low for v in values]
    bar = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
    return {axis: bar | {"color": color, "thickness": thickness, "width": 0}}


def against_macs(data: ReportData, found: MacsAgainstTime) -> Figure:
    """One measured latency over MACs: every network with its interval, the front marked, example pairs joined."""
    x, y = Objective(MACS, "min"), Objective(found.metric, "min")
    best = {e.architecture.key for e in shown(data)}
    rest = [e for e in found.networks if e.architecture.key not in best]
    front_members = [e for e in found.networks if e.architecture.key in best]
    traces = [
        _joined(found.examples, found.metric),
        _with_bars(_points(data, rest, x, y, "evaluated", EVALUATED_LOOK), rest, None, y),
        _with_bars(_points(data, front_members, x, y, "Pareto front", FRONT_LOOK), front_members, None, y),
    ]
    traces[-1]["marker"]["line"] = {"width": 2, "color": "var(--page)"}
    layout = {
        "xaxis": {"title": {"text": "MACs"}, "rangemode": "tozero"},
        "yaxis": _axis(data, found.metric, None) | {"rangemode": "tozero"},
    }
    return {"data": [t for t in traces if t["x"]], "layout": layout}


def _joined(pairs: Sequence[Pair], metric: str) -> Figure:
    """A line from each network with fewer MACs to the one that is not slower in spite of more."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for pair in pairs:
        xs += [pair.fewer[MACS], pair.more[MACS], None]
        ys += [pair.fewer[metric], pair.more[metric], None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "fewer MACs, not faster",
        "x": xs,
        "y": ys,
        "line": {"color": "var(--limit)", "width": 2, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _staircase(best: Sequence[Evaluation], x: Objective, y: Objective) -> Figure:
    """The border of the area that the front dominates; only for two objectives."""
    edge = np.flatnonzero(is_non_dominated(costs(best, (x, y)))).tolist()
    corners = sorted((best[i][x.metric], best[i][y.metric]) for i in edge)
    line = {"shape": "hv" if x.goal == "min" else "vh", "color": "var(--front)", "width": 1.5}
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [a for a, _ in corners],
        "y": [b for _, b in corners],
        "line": line,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _hover(data: ReportData, e: Evaluation, label: str) -> str:
    named = {n.evaluation.architecture.key: n.name for n in data.networks}.get(e.architecture.key, "")
    lines = [f"<b>{markup_of(named or e.architecture.key[:8])}</b>  {markup_of(label)}"]
    for metric, value in e.values.items():
        unit = data.metric(metric).unit
        around = f" ({interval(value, unit)})" if value.has_interval else ""
        lines.append(markup_of(f"{metric}: {with_unit(value.value, unit)}{around}, {value.source}"))
    return "<br>".join([*lines, *map(markup_of, _wrapped(str(e.architecture)))])


def _wrapped(text: str, width: int = 58, most: int = 12) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        if len(lines[-1]) + len(word) > width and lines[-1]:
            lines.append("")
        lines[-1] += word + " "
    return lines if len(lines) <= most else [*lines[:most], "…"]


def _axis(data: ReportData, metric: str, limits: list[float] | None) -> Figure:
    unit = data.metric(metric).unit
    title = f"{markup_of(metric)} ({markup_of(unit)})" if unit not in ("", "1") else markup_of(metric)
    return {"title": {"text": title}} | ({"range": limits} if limits else {})


def _range(evaluations: Sequence[Evaluation], metric: str) -> list[float] | None:
    if not evaluations:
        return None
    values = [end for e in evaluations for end in (e.values[metric].low, e.values[metric].high)]
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return [low - pad, high + pad]


def _limits(data: ReportData, x: Objective, y: Objective, evaluations: Sequence[Evaluation]) -> Figure:
    """Shapes and labels of the limits on the two axes."""
    shapes, notes = [], []
    for limit in data.limits:
        for axis, objective in (("x", x), ("y", y)):
            reach = _range(evaluations, objective.metric)
            if limit.metric != objective.metric or reach is None or limit.relative:
                continue
            other = "y" if axis == "x" else "x"
            far = (max if limit.sense == "<=" else min)(*reach, limit.bound)
            common = {f"{axis}ref": axis, f"{other}ref": "paper", f"{other}0": 0, f"{other}1": 1, "layer": "below"}
            area: Figure = {
                f"{axis}0": limit.bound,
                f"{axis}1": far,
                "fillcolor": "var(--forbidden)",
                "line": {"width": 0},
            }
            edge: Figure = {f"{axis}0": limit.bound, f"{axis}1": limit.bound}
            edge["line"] = {"color": "var(--limit)", "width": 1.5, "dash": "dash"}
            shapes += [{"type": "rect", **common, **area}, {"type": "line", **common, **edge}]
            label = limit_text(limit, data.metric(limit.metric).unit).removeprefix(limit.metric)
            note = {
                "text": f"limit{markup_of(label)}",
                "showarrow": False,
                "font": {"color": "var(--limit)", "size": 12},
            }
            place = {"x": limit.bound, "yref": "paper", "y": 1, "yanchor": "bottom", "xanchor": "center"}
            if axis == "y":
                place = {"y": limit.bound, "xref": "paper", "x": 1, "xanchor": "right", "yanchor": "bottom"}
            notes.append(note | place)
    return {"shapes": shapes, "annotations": notes}


def _has(e: Evaluation, *objectives: Objective) -> bool:
    return e.ok and all(o.metric in e.values for o in objectives)


def axis_label(data: ReportData, x: Objective, y: Objective) -> str:
    """A description of a figure of two objectives, for screen readers."""
    ends = []
    for o in (x, y):
        values = [e[o.metric] for e in shown(data)]
        unit = data.metric(o.metric).unit
        ends.append(
            f"{o.metric} from {number(min(values), unit)} to {with_unit(max(values), unit)}" if values else o.metric
        )
    return f"Scatter plot: {' against '.join(reversed(ends))}; the table below holds the same values"
