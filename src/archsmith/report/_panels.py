"""Small panels in SVG: the effect of each choice on each objective."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from archsmith.metric import Metric
from archsmith.quantities import number, with_unit
from archsmith.report.effects import ChoiceEffect, OptionEffect
from archsmith.report.markup import Markup, element, markup_of

WIDTH, HEIGHT = 260, 118
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 20, 24


def panel(effect: ChoiceEffect, metric: Metric, span: tuple[float, float]) -> Markup:
    """One choice and one metric: the mean of every option as a dot, 10th to 90th percentile as a bar.

    Args:
        effect: the effect to draw.
        metric: its metric, for name and unit.
        span: ends of the vertical axis, the same for every choice, so that panels are comparable.
    """
    low, high = span
    scale = (HEIGHT - TOP - BOTTOM) / ((high - low) or 1.0)

    def y(value: float) -> float:
        place = HEIGHT - BOTTOM - (value - low) * scale
        return round(place, 1) if math.isfinite(place) else HEIGHT - BOTTOM  # enormous values overflow

    step = (WIDTH - LEFT - RIGHT) / len(effect.options)
    xs = [round(LEFT + step * (i + 0.5), 1) for i in range(len(effect.options))]
    parts = [_text(0, 10, metric.name)]
    for value in (low, high):
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value)}" y2="{y(value)}"/>')
        parts.append(_text(LEFT - 6, y(value) + 4, number(value, metric.unit), anchor="end"))
    joined = " ".join(f"{x},{y(o.mean)}" for x, o in zip(xs, effect.options, strict=True))
    parts.append(f'<polyline class="join" points="{joined}"/>')
    every = max(1, -(-len(xs) * 34 // (WIDTH - LEFT)))  # labels that would overlap are left out
    for i, (x, option) in enumerate(zip(xs, effect.options, strict=True)):
        parts.append(_mark(x, y, option, metric))
        if i % every == 0:
            parts.append(_text(x, HEIGHT - 7, _option(option, len(xs)), anchor="middle"))
    label = f"{effect.choice} on {metric.name}: " + ", ".join(
        f"{_option(o)} {with_unit(o.mean, metric.unit)}" for o in effect.options
    )
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{markup_of(label)}">'
    return Markup(head + "".join(parts) + "</svg>")


def _mark(x: float, y: Callable[[float], float], option: OptionEffect, metric: Metric) -> str:
    tip = (
        f"{_option(option)}: mean {with_unit(option.mean, metric.unit)}, 10 to 90 %: "
        f"{number(option.low, metric.unit)} to {number(option.high, metric.unit)}, {option.n} networks"
    )
    return (
        f'<g><title>{markup_of(tip)}</title><line class="spread" x1="{x}" x2="{x}" y1="{y(option.low)}" '
        f'y2="{y(option.high)}"/><circle class="mean" cx="{x}" cy="{y(option.mean)}" r="4"/></g>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{markup_of(text)}</text>'


def _option(option: OptionEffect, among: int = 1) -> str:
    value = option.option
    text = "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
    room = max(4, 34 // among)
    return text if len(text) <= room or among == 1 else text[: room - 1] + "…"


def group(effects: Sequence[ChoiceEffect], metrics: Sequence[Metric], spans: Sequence[tuple[float, float]]) -> Markup:
    """One choice with a panel for every metric, and its largest share of explained variance."""
    strongest = max(effects, key=lambda e: e.share)
    explains = f"explains {100 * strongest.share:.0f} % of {strongest.metric}"
    panels = [panel(e, m, s) for e, m, s in zip(effects, metrics, spans, strict=True)]
    title = element("h3", effects[0].choice, element("span", explains))
    return element("div", title, element("div", *panels, cls="panels"), cls="effect")
