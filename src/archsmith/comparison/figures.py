"""Plots of a summary as plain data in Plotly's format; colours are CSS variables of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archsmith.comparison import text
from archsmith.comparison.entry import RANDOM
from archsmith.comparison.statistics import SIGNIFICANT_P
from archsmith.comparison.text import Summary
from archsmith.report.markup import markup_of

Figure = dict[str, Any]

COLORS = ("var(--front)", "var(--baseline)", "var(--third)", "var(--limit)", "var(--fifth)", "var(--sixth)")
DASHES = ("solid", "dot", "dash", "longdash")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star")
RANDOM_COLOR = "var(--evaluated)"
TICKS = {"tickvals": [ten * one for ten in (1, 10, 100, 1000, 10000) for one in (1, 2, 5)]}
SHOWN_LINES = 8
"""Strategies whose lines are shown at first; a click in the legend shows others."""


def looks(names: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Colour, dash and symbol of each strategy; random search has a neutral colour."""
    found = {}
    for i, name in enumerate(names):
        again, at = divmod(i, len(COLORS))
        symbol = SYMBOLS[(at + again) % len(SYMBOLS)]  # another symbol when colours repeat
        found[name] = (COLORS[at], DASHES[again % len(DASHES)], symbol)
    return found | ({RANDOM: (RANDOM_COLOR, "solid", "hexagon")} if RANDOM in found else {})


def curves(summary: Summary, problem: str) -> Figure:
    """Median hypervolume over evaluations, one line a strategy, with a band between the quartiles."""
    names, traces = text.labels(summary), []
    look = looks(names)
    for i, name in enumerate(names):
        result = text.cell(summary, problem, name)
        if result is None:
            continue
        color, dash, _ = look[name]
        curve = result["curve"]
        hidden: Figure = {} if i < SHOWN_LINES or name == RANDOM else {"visible": "legendonly"}
        common: Figure = {
            "type": "scatter",
            "mode": "lines",
            "legendgroup": markup_of(name),
            "hoverinfo": "skip",
        } | hidden
        nothing = {"width": 0, "color": color}
        traces.append(common | {"x": curve["at"], "y": curve["low"], "line": nothing, "showlegend": False})
        band = {"fill": "tonexty", "fillcolor": f"{color[:-1]}band)", "line": nothing, "showlegend": False}
        traces.append(common | {"x": curve["at"], "y": curve["high"]} | band)
        line = {"color": color, "dash": dash, "width": 2.5}
        hover = {"hoverinfo": "all", "hovertemplate": f"{markup_of(name)}: %{{y:.4f}} after %{{x}}<extra></extra>"}
        traces.append(common | {"x": curve["at"], "y": curve["median"], "name": markup_of(name), "line": line} | hover)
    lowest = min(t["y"][min(4, len(t["y"]) - 1)] for t in traces)
    level = {"xref": "paper", "x0": 0, "x1": 1, "y0": 0.99, "y1": 0.99, "layer": "below"}
    layout = {
        "xaxis": {"title": {"text": "unique evaluations"}, "type": "log", **TICKS},
        "yaxis": {"title": {"text": "share of the best hypervolume"}, "range": [max(0.0, lowest - 0.02), 1.005]},
        "shapes": [{"type": "line", **level, "line": {"color": "var(--limit)", "width": 1, "dash": "dash"}}],
    }
    return {"data": traces, "layout": layout}


def dots(summary: Summary) -> Figure:
    """Evaluations to 99 %: one row a problem, one dot a strategy, with a bar between the quartiles."""
    names, traces = text.labels(summary), []
    look = looks(names)
    problems = [p["name"] for p in summary["problems"]]
    for i, name in enumerate(names):
        color, _, symbol = look[name]
        points = []
        for row, problem in enumerate(problems):
            result = text.cell(summary, problem, name)
            if result is None:
                continue
            found = result["evaluations_to"][result["key_level"]]
            x, low, high = (result["budget"] if found[q] is None else found[q] for q in ("median", "low", "high"))
            label = text.hits_with_quartiles(result, result["key_level"])
            shift = 0.6 * ((i + 0.5) / len(names) - 0.5)
            points.append((x, row + shift, high - x, x - low, found["median"] is None, f"{name} on {problem}: {label}"))
        xs, ys, above, below, open_, hover = (list(column) for column in zip(*points, strict=True))
        marker = {"color": color, "size": 9, "symbol": [f"{symbol}-open" if o else symbol for o in open_]}
        bars = {
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "color": color,
            "thickness": 1.2,
        }
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": markup_of(name),
                "x": xs,
                "y": ys,
                "error_x": bars | {"width": 0},
                "marker": marker,
                "hovertext": [markup_of(h) for h in hover],
                "hovertemplate": "%{hovertext}<extra></extra>",
            }
        )
    ticks = {"tickvals": list(range(len(problems))), "ticktext": [markup_of(p) for p in problems]}
    layout = {
        "xaxis": {"title": {"text": "evaluations to 99 % of the best hypervolume"}, "type": "log", **TICKS},
        "yaxis": {**ticks, "range": [len(problems) - 0.5, -0.5]},
    }
    return {"data": traces, "layout": layout}


def overhead(summary: Summary) -> Figure:
    """CPU time of a proposal, the mean over a search: one row a strategy, one dot a problem."""
    names, traces = text.labels(summary), []
    look = looks(names)
    for row, name in enumerate(names):
        results = [r for r in summary["results"] if r["strategy"] == name]
        color, _, symbol = look[name]
        hover = [
            f"{name} on {r['problem']}: {r['ms_each']['median']:.2f} ms, at the end {r['ms_late']['median']:.2f} ms"
            for r in results
        ]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": markup_of(name),
                "showlegend": False,
                "x": [r["ms_each"]["median"] for r in results],
                "y": [row] * len(results),
                "marker": {"color": color, "symbol": symbol, "size": 9, "opacity": 0.8},
                "hovertext": [markup_of(h) for h in hover],
                "hovertemplate": "%{hovertext}<extra></extra>",
            }
        )
    ticks = {"tickvals": list(range(len(names))), "ticktext": [markup_of(n) for n in names]}
    layout = {
        "xaxis": {"title": {"text": "CPU milliseconds a proposal"}, "type": "log"},
        "yaxis": {**ticks, "range": [len(names) - 0.5, -0.5]},
    }
    return {"data": traces, "layout": layout}


def ranks(summary: Summary, test: str) -> Figure:
    """Every pair of strategies: how often the row's is better, marked where the difference is significant."""
    names = text.labels(summary)
    place = {name: i for i, name in enumerate(names)}
    z: list[list[float | None]] = [[None] * len(names) for _ in names]
    marks: list[list[str]] = [[""] * len(names) for _ in names]
    hover: list[list[str]] = [[""] * len(names) for _ in names]
    for pair in summary["tests"][test]["pairs"]:
        a, b = place[pair["first"]], place[pair["second"]]
        n = pair["wins"] + pair["losses"] + pair["ties"]
        for row, column, wins, losses in ((a, b, pair["wins"], pair["losses"]), (b, a, pair["losses"], pair["wins"])):
            share = (wins + 0.5 * pair["ties"]) / n
            z[row][column] = round(share, 4)
            marks[row][column] = f"{100 * share:.0f}{'*' if pair['p_holm'] < SIGNIFICANT_P else ''}"
            hover[row][column] = markup_of(
                f"{names[row]} against {names[column]}: better {wins}, worse {losses}, equal {pair['ties']}; "
                f"p = {pair['p_holm']:.2g} (Holm)"
            )
    trace = {
        "type": "heatmap",
        "x": [markup_of(n) for n in names],
        "y": [markup_of(n) for n in names],
        "z": z,
        "text": marks,
        "texttemplate": "%{text}",
        "hovertext": hover,
        "hovertemplate": "%{hovertext}<extra></extra>",
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "var(--baseline)"], [0.5, "var(--panel)"], [1, "var(--front)"]],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
    }
    layout = {"xaxis": {"side": "top"}, "yaxis": {"autorange": "reversed"}}
    return {"data": [trace], "layout": layout}
