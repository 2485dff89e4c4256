"""One self-contained HTML page about a search: it opens from disk, and nothing in it asks the network."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from archsmith.errors import require
from archsmith.files import replacing
from archsmith.report import _networks, sections
from archsmith.report._markup import Child, Markup, element, join
from archsmith.report.data import ReportData

# Whatever the page is made to hold, the browser fetches nothing and sends nothing.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def write_html(data: ReportData, path: Path | str) -> Path:
    """Write the report, whole or not at all.

    Returns:
        ``path``.

    Raises:
        MissingExtra: without Plotly, whose script the page holds.
        StorageFull: when the disk is full; a report that was there stays.
    """
    text = page(data)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files can be half letters
    return Path(path)


def page(data: ReportData) -> str:
    """The whole page as text."""
    require("plotly.offline", extra="report", purpose="the report")
    figures: dict[str, Any] = {}
    parts = [
        sections.headline(data),
        sections.trade_offs(data, figures),
        _networks.section(data),
        sections.speed(data, figures),
        sections.against_time(data, figures),
        sections.choices(data),
        sections.training(data, figures),
        sections.trouble(data),
        sections.making(data),
    ]
    return document(f"{data.title} · report", parts, figures)


def document(title: str, parts: Iterable[Child], figures: Mapping[str, Any], style: str = "") -> str:
    """A page around its parts, with the data of its figures and the scripts that draw them.

    Args:
        title: of the window.
        parts: of the page, one below the other.
        figures: name -> figure, drawn where an element of the class ``plot`` names it as ``data-figure``.
        style: rules of this page's own.

    Raises:
        MissingExtra: without Plotly, whose script the page holds.
    """
    footer = element("footer", "Written by archsmith. This page holds everything that it shows.")
    scripts = [_data(name, figure) for name, figure in figures.items()]
    if figures:
        plotly = require("plotly.offline", extra="report", purpose="the report")
        scripts += [_script(plotly.get_plotlyjs()), _script(_resource("page.js"))]
    head = join(
        [
            Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
            Markup('<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'),
            element("title", title),
            element("style", Markup(_resource("page.css") + style)),
        ]
    )
    body = element("body", element("main", *parts, footer), *scripts)
    return f"<!doctype html>\n{element('html', element('head', head), body, lang='en')}\n"


def _resource(name: str) -> str:
    return (resources.files("archsmith.report") / name).read_text(encoding="utf-8")


def _data(name: str, figure: Any) -> Markup:
    # JSON inside a script element ends at the first "</": no "<" is left in it.
    text = json.dumps(_finite(figure), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(f'<script type="application/json" id="{name}">{text}</script>')


def _finite(figure: Any) -> Any:
    """The same with nothing where a number is none: what is read from files may be."""
    if isinstance(figure, Mapping):
        return {name: _finite(part) for name, part in figure.items()}
    if isinstance(figure, list | tuple):
        return [_finite(part) for part in figure]
    return None if isinstance(figure, float) and not math.isfinite(figure) else figure


def _script(source: str) -> Markup:
    return Markup(f"<script>{source}</script>")
