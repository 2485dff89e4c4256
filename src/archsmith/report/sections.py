"""The parts of the page as markup, each built from the report's data; ``None`` where there is nothing to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import permutations
from typing import Any

import numpy as np

from archsmith.quantities import counted
from archsmith.report import _panels, figures
from archsmith.report.data import ReportData
from archsmith.report.effects import ChoiceEffect, main_effects
from archsmith.report.macs import MacsAgainstTime, in_words, macs_against_time, named_example
from archsmith.report.markup import Markup, details, element, join, table
from archsmith.report.text import best_found, largest_text, verdict
from archsmith.space import ChoiceSpace

SHOWN_EFFECTS = 8
"""Choices whose panels are open; the others open on a click."""


def headline(data: ReportData) -> Markup:
    """The result in one sentence, with the main facts."""
    facts: list[tuple[str, str]] = [("evaluations", f"{len(data.evaluations):,}")]
    if isinstance(data.space, ChoiceSpace):
        facts.append(("in the search space", str(data.space.size())))
    values = figures.hypervolumes(data)
    if values and len(data.objectives) > 1:
        facts.append(("hypervolume", f"{values['search'][-1]:.3f}"))
    for name in data.baselines:
        n = min(len(values.get(name, ())), len(data.evaluations))
        if n and len(data.objectives) > 1:
            own, other = values["search"][n - 1], values[name][n - 1]
            facts.append((f"hypervolume after {counted(n, 'evaluation')}", f"{own:.3f}, {name} {other:.3f}"))
    total = sum(data.timing.values())
    if total:
        facts.append(("in all", duration(total)))
    lead = " ".join(filter(None, [verdict(data), largest_text(data)]))
    pairs = [element("div", element("dt", name), element("dd", value)) for name, value in facts]
    return element(
        "header",
        element("p", f"{data.title} · ", element("code", data.run), cls="eyebrow"),
        element("h1", _unbroken(data, best_found(data))),
        element("p", lead, cls="lead") if lead else None,
        element("dl", *pairs, cls="facts"),
    )


def trade_off_section(data: ReportData, store: dict[str, Any]) -> Markup | None:
    """The Pareto front over all evaluations; with a selector of axes for more than two objectives."""
    some = [*data.evaluations, *(e for b in data.baselines.values() for e in b)]
    if not any(e.ok for e in some):
        return None
    chooser = None
    if len(data.objectives) == 1:
        store["figure-front"] = figures.progress(data, data.objectives[0])
        title, label = "Every network, in the order of the search", "Values over evaluations"
    else:
        title = "The best trade-offs"
        pairs = [(x, y) for x, y in permutations(reversed(data.objectives), 2) if x != data.objectives[0]]
        pairs = [p for i, p in enumerate(pairs) if (p[1], p[0]) not in pairs[:i]]
        names = ["figure-front", *(f"figure-front-{i}" for i in range(2, len(pairs) + 1))]
        order = sorted(pairs, key=lambda p: (p[0] != data.objectives[-1], p[1] != data.objectives[0]))
        store |= {name: figures.front(data, x, y) for name, (x, y) in zip(names, order, strict=True)}
        label = figures.axis_label(data, *order[0])
        if len(order) > 1:
            options = [
                element("option", f"{y.metric} against {x.metric}", value=name)
                for name, (x, y) in zip(names, order, strict=True)
            ]
            pick = element("select", *options, id="axes", data_plot="plot-front")
            chooser = element("div", element("label", "Show", **{"for": "axes"}), pick, cls="chooser")
    bars = "Bars are 95 % intervals: of all metrics on the front, elsewhere only of those measured on a device. "
    bars = bars if len(data.objectives) > 1 else ""
    caption = bars + (
        "Hover for the architecture and the source of each value (measured, computed, "
        "predicted, table); drag to zoom, double-click to see all."
    )
    return element(
        "section",
        element("h2", title),
        chooser,
        _plot("front", label),
        element("p", caption, cls="note"),
    )


def speed(data: ReportData, store: dict[str, Any]) -> Markup | None:
    """How fast the front improved, compared with the baselines."""
    if len(data.objectives) < 2 or not data.feasible.any():
        return None
    store["figure-hypervolume"] = figures.hypervolume_figure(data)
    what = " and ".join(["the search", *data.baselines])
    caption = (
        "Share of the objective space that is covered, feasible networks only. In each objective 0 is the best and 1 "
        f"the worst feasible value that {what} found; the reference point is {figures.REFERENCE} in each."
    )
    if not data.baselines:
        caption += " No baseline was run; --baseline random:20 runs one, for comparison."
    return element(
        "section",
        element("h2", "How fast it got there"),
        _plot("hypervolume", "Hypervolume over evaluations", low=True),
        element("p", caption, cls="note"),
    )


def against_time(data: ReportData, store: dict[str, Any]) -> Markup | None:
    """MACs against measured latencies, with a warning where MACs mislead."""
    found = macs_against_time(data)
    if not found:
        return None
    several = len(found) > 1
    parts: list[Markup | None] = []
    for i, each in enumerate(found, 1):
        parts += [element("h3", each.metric)] if several else []
        parts += _macs_of(data, each, store, f"macs-{i}")
    caption = (
        "MACs are counted, times are measured; bars are 95 % intervals. One network counts as faster than another if "
        "the difference exceeds its 95 % interval."
    )
    if isinstance(data.space, ChoiceSpace) and any(c.owner == "device" for c in data.space.choices):
        caption += " Networks also differ in the precision of their layers, which MACs do not count."
    return element("section", element("h2", "MACs against time"), *parts, element("p", caption, cls="note"))


def _macs_of(data: ReportData, found: MacsAgainstTime, store: dict[str, Any], name: str) -> list[Markup | None]:
    store[f"figure-{name}"] = figures.against_macs(data, found)
    examples = [element("li", named_example(data, found.metric, pair)) for pair in found.examples]
    judgement = f"MACs mislead about {found.metric} here." if found.misleads else ""
    warning = [
        element("p", element("strong", judgement or "Exceptions:")),
        element("ul", *examples),
    ]
    return [
        element("p", in_words(found)),
        element("div", *warning, cls="warning" if found.misleads else "aside") if examples else None,
        _plot(name, f"Scatter plot: {found.metric} against MACs; {in_words(found)}"),
    ]


def choices(data: ReportData) -> Markup | None:
    """The effect of each choice on each objective."""
    every = [*data.evaluations, *(e for b in data.baselines.values() for e in b)]
    names = [o.metric for o in data.objectives]
    found = main_effects(every, names, data.space)
    if not found:
        return None
    metrics = [data.metric(name) for name in names]
    spans = [_span([e[i] for e in found]) for i in range(len(names))]
    groups = [_panels.group(e, metrics, spans) for e in found]
    cls = "effects two" if len(names) > 1 else "effects"
    rest = groups[SHOWN_EFFECTS:]
    return element(
        "section",
        element("h2", "What each choice does"),
        element(
            "p",
            "Dots are means over the evaluated networks that have an option, bars run from the 10th to the 90th "
            "percentile. The figure beside a name is the share of the variance that this choice alone explains. "
            "A search does not sample evenly: take this as a hint to which choices matter, not as an experiment.",
            cls="note",
        ),
        element("div", *groups[:SHOWN_EFFECTS], cls=cls),
        details(f"{counted(len(rest), 'weaker choice')}", element("div", *rest, cls=cls)) if rest else None,
    )


def training(data: ReportData, store: dict[str, Any]) -> Markup | None:
    """The losses of the supernet's training."""
    if not data.training:
        return None
    store["figure-training"] = figures.training(data)
    plot = _plot("training", "Training losses by epoch", low=True)
    return element("section", element("h2", "Training of the supernet"), plot)


def trouble(data: ReportData) -> Markup | None:
    """What failed and what was dropped, with the reasons."""
    dropped = [n for n in data.networks if n.dropped]
    if not dropped and not data.failed:
        return None
    parts: list[Markup | None] = []
    if dropped:
        rows = [(element("code", n.name), n.dropped) for n in dropped]
        parts += [
            element("h3", "Dropped at the last check"),
            table(("network", "reason"), rows, label="Dropped networks"),
        ]
    if data.failed:
        reasons = Counter(e.reason for e in data.failed)
        example = {e.reason: e for e in reversed(data.failed)}
        failures = [
            (str(n), reason, details("show", element("code", str(example[reason].architecture))))
            for reason, n in reasons.most_common()
        ]
        parts += [
            element("h3", f"{counted(len(data.failed), 'failed evaluation')} of {len(data.evaluations):,}"),
            table(("times", "reason", "first seen with"), failures, label="Failed evaluations"),
        ]
    return element("section", element("h2", "What did not work"), *parts)


def making(data: ReportData) -> Markup | None:
    """Settings, seeds, environment, timing and notes: enough to repeat the search."""
    objectives = ", ".join(map(str, data.objectives))
    limits = ", ".join(map(str, data.limits)) or "none"
    settings = {"objectives": objectives, "limits": limits} | dict(data.settings)
    blocks = [_pairs("Settings", settings), _pairs("Seeds", data.seeds), _pairs("Environment", data.environment)]
    notes = [element("li", note) for note in data.notes]
    return element(
        "section",
        element("h2", "How this was made"),
        element("ul", *notes, cls="notes") if notes else None,
        _timing(data),
        element("div", *(b for b in blocks if b), cls="columns"),
    )


def duration(seconds: float) -> str:
    """Such as ``3 min 20 s``.

    >>> duration(200), duration(0.25), duration(7300)
    ('3 min 20 s', '0.2 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _unbroken(data: ReportData, text: str) -> str:
    """Keep each unit on the line of its number."""
    for unit in {data.metric(o.metric).unit for o in data.objectives} - {"", "1"}:
        text = text.replace(f" {unit}", f"\u00a0{unit}")
    return text


def _plot(name: str, label: str, *, low: bool = False) -> Markup:
    cls = "plot low" if low else "plot"
    return element(
        "figure",
        element("div", id=f"plot-{name}", cls=cls, data_figure=f"figure-{name}", role="img", aria_label=label),
    )


def _span(effects: list[ChoiceEffect]) -> tuple[float, float]:
    ends = [end for e in effects for o in e.options for end in (o.low, o.high)]
    return float(np.min(ends)), float(np.max(ends))


def _timing(data: ReportData) -> Markup | None:
    if not data.timing:
        return None
    most = max(data.timing.values()) or 1.0
    rows = [
        (element("span", part), element("i", style=f"width:{100 * s / most:.1f}%"), element("b", duration(s)))
        for part, s in data.timing.items()
    ]
    return join([element("h3", "Where the time went"), element("div", *(join(r) for r in rows), cls="bars")])


def _pairs(title: str, values: Mapping[str, Any]) -> Markup | None:
    rows = list(_flat(values))
    if not rows:
        return None
    return element("div", element("h3", title), element("div", table((), rows, label=title), cls="plain"))


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name} ")
        elif isinstance(value, list | tuple):
            rows.append((f"{prefix}{name}", ", ".join(map(str, value)) or "none"))
        else:
            rows.append((f"{prefix}{name}", "default" if value is None else str(value)))
    return rows
