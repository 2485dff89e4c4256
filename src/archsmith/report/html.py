"""One self-contained HTML page about a search: it opens from disk, and loads nothing from the internet."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from archsmith.errors import require
from archsmith.files import replacing
from archsmith.report import _networks, sections
from archsmith.report.data import ReportData
from archsmith.report.markup import Child, Markup, element, join

# Even if hostile text gets into the page, the browser loads and sends nothing, and runs only the page's own scripts.
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; img-src data: blob:; "
    "script-src {}"
)


def write_html(data: ReportData, path: Path | str) -> Path:
    """Write the report, as a whole or not at all.

    Returns:
        ``path``.

    Raises:
        MissingExtra: without Plotly, whose script the page contains.
        StorageFull: when the disk is full; an older report stays.
    """
    with np.errstate(all="ignore"):  # enormous values overflow
        text = page(data)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # for lone surrogates in file names
    return Path(path)


def is_page(path: Path) -> bool:
    """Whether a file is an HTML page or empty; a report replaces only such files."""
    with path.open("rb") as file:
        return file.read(len(_BEGINNING)).lower() in (_BEGINNING, b"")


_BEGINNING = b"<!doctype html>"


def page(data: ReportData) -> str:
    """The whole page as text."""
    require("plotly.offline", extra="report", purpose="the report")
    figures: dict[str, Any] = {}
    parts = [
        sections.headline(data),
        sections.trade_off_section(data, figures),
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
        style: further CSS rules.

    Raises:
        MissingExtra: without Plotly, whose script the page contains.
    """
    footer = element("footer", "Written by archsmith. This page contains everything that it shows.")
    data = [_data(name, figure) for name, figure in figures.items()]
    scripts: list[str] = []
    if figures:
        plotly = require("plotly.offline", extra="report", purpose="the report")
        scripts = [plotly.get_plotlyjs(), _resource("page.js")]
    policy = POLICY.format(" ".join(map(_hash, scripts)) or "'none'")
    head = join(
        [
            Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
            Markup('<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'),
            element("title", title),
            element("style", Markup(_resource("page.css") + style)),
        ]
    )
    body = element("body", element("main", *parts, footer), *data, *map(_script, scripts))
    return f"<!doctype html>\n{element('html', element('head', head), body, lang='en')}\n"


def _resource(name: str) -> str:
    return (resources.files("archsmith.report") / name).read_text(encoding="utf-8")


def _data(name: str, figure: Any) -> Markup:
    # A script element ends at the first "</", so every "<" in the JSON is escaped.
    text = json.dumps(_finite(figure), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(f'<script type="application/json" id="{name}">{text}</script>')


def _finite(node: Any) -> Any:
    """Plain data with ``None`` for infinity and NaN, which JSON lacks."""
    if isinstance(node, float):
        return node if math.isfinite(node) else None
    if isinstance(node, Mapping):
        return {name: _finite(part) for name, part in node.items()}
    return [_finite(part) for part in node] if isinstance(node, list | tuple) else node


def _hash(script: str) -> str:
    """A script's hash for the security policy; browsers convert all line ends to line feeds first."""
    text = script.replace("\r\n", "\n").replace("\r", "\n")
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _script(source: str) -> Markup:
    return Markup(f"<script>{source}</script>")
