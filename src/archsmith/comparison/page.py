"""The report of a comparison: a self-contained HTML page with plots, and the same as Markdown and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archsmith.comparison import figures, markdown, text
from archsmith.comparison.text import Summary
from archsmith.errors import require
from archsmith.files import replacing
from archsmith.report.html import document
from archsmith.report.markup import Markup, details, element, table

TITLE = "Strategies compared"
PROTOCOL = (
    "Hypervolume on objectives scaled to 0..1 over the whole table, costs that span more than a factor of 10 on a "
    "logarithmic scale, reference point 1.1 in each; unique evaluations only; the true front's hypervolume is 1."
)
STYLE = """
:root {
  --fifth: #7a52b3; --sixth: #7a6a00;
  --frontband: rgba(0, 95, 168, .13); --baselineband: rgba(184, 86, 10, .13);
  --thirdband: rgba(0, 121, 92, .13); --limitband: rgba(164, 51, 95, .13);
  --fifthband: rgba(122, 82, 179, .13); --sixthband: rgba(122, 106, 0, .13);
  --evaluatedband: rgba(132, 141, 149, .13);
}
@media (prefers-color-scheme: dark) {
  :root {
    --fifth: #b99af0; --sixth: #cdb94a;
    --frontband: rgba(98, 176, 242, .17); --baselineband: rgba(240, 160, 85, .17);
    --thirdband: rgba(76, 197, 161, .17); --limitband: rgba(236, 134, 171, .17);
    --fifthband: rgba(185, 154, 240, .17); --sixthband: rgba(205, 185, 74, .17);
    --evaluatedband: rgba(138, 148, 156, .17);
  }
}
"""
"""Further colours of lines, and their transparent versions for bands, which Plotly cannot derive from variables."""


def write_reports(summary: Summary, folder: Path) -> list[Path]:
    """Write ``summary.json``, ``report.md`` and ``report.html``, each as a whole or not at all.

    Raises:
        MissingExtra: without Plotly, whose script the page contains; the other two are written.
        StorageFull: when the disk is full.
    """
    paths = [folder / name for name in ("summary.json", "report.md", "report.html")]
    _write(paths[0], _json(summary))
    _write(paths[1], markdown.as_markdown(summary, title=TITLE, intro=PROTOCOL))
    require("plotly.offline", extra="report", purpose="the report of a comparison")
    _write(paths[2], html(summary))
    return paths


def _json(summary: Summary) -> str:
    """JSON with each innermost list and object on one line, for readable diffs in repositories."""
    spread = json.dumps(summary, indent=1, ensure_ascii=False)
    return re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda found: re.sub(r"\n\s*", " ", found[0]), spread) + "\n"


def _write(path: Path, content: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8", errors="backslashreplace")


def html(summary: Summary) -> str:
    """The page as text."""
    names = text.labels(summary)
    store: dict[str, Any] = {}
    parts = [
        _headline(summary, names),
        _curves(summary, store),
        _evaluations(summary, names, store),
        _overhead(summary, names, store),
        _luck(summary, store),
        _everything(summary, names),
    ]
    return document(TITLE, parts, store, STYLE)


def _headline(summary: Summary, names: Sequence[str]) -> Markup:
    searches = sum(o["searches"] for o in summary["overall"])
    facts = [
        ("strategies", str(len(names))),
        ("problems", str(len(summary["problems"]))),
        ("searches", f"{searches:,}"),
        ("made", summary["date"]),
    ]
    most = max(o["problems"] for o in summary["overall"])
    o = min((o for o in summary["overall"] if o["problems"] == most), key=lambda o: o["evaluations"])
    lead = (
        f"{o['strategy']} needs the fewest evaluations: {'at least ' if o['not_reached'] else ''}"
        f"{o['evaluations']:.0f} to 99 % of the best hypervolume (geometric mean over {most} problems, "
        "of the strategies that searched all of them)."
    )
    pairs = [element("div", element("dt", name), element("dd", value)) for name, value in facts]
    return element(
        "header",
        element("p", f"{TITLE} · ", markdown.settings(summary), cls="eyebrow"),
        element("h1", lead),
        element("p", PROTOCOL, cls="lead"),
        element("dl", *pairs, cls="facts"),
    )


def _curves(summary: Summary, store: dict[str, Any]) -> Markup:
    problems = [p["name"] for p in summary["problems"]]
    store |= {f"figure-curve-{i}": figures.curves(summary, problem) for i, problem in enumerate(problems)}
    options = [element("option", problem, value=f"figure-curve-{i}") for i, problem in enumerate(problems)]
    chooser = element("select", *options, id="problem", data_plot="plot-curve-0")
    return element(
        "section",
        element("h2", "How fast each finds the front"),
        element("div", element("label", "Problem", **{"for": "problem"}), chooser, cls="chooser"),
        _plot("curve-0", f"Hypervolume over evaluations on {problems[0]}; other problems by the list above"),
        element(
            "p",
            "Median over seeds, bands between the quartiles; the dashed line is 99 %. Click a name in the legend "
            "to hide or show its line.",
            cls="note",
        ),
    )


def _evaluations(summary: Summary, names: Sequence[str], store: dict[str, Any]) -> Markup:
    store["figure-dots"] = figures.dots(summary)
    height = f"{max(14, 3 + 0.95 * len(names) * len(summary['problems'])):.0f}rem"
    head = ["problem", *names]
    return element(
        "section",
        element("h2", "Evaluations to 99 %"),
        _plot("dots", "Evaluations to 99 % of the best hypervolume by problem and strategy", height),
        element(
            "p",
            "Medians with quartiles. An open mark at the budget: the median search did not reach 99 %.",
            cls="note",
        ),
        element("h3", "To 95 % / 99 %, medians"),
        table(head, text.main_rows(summary, names), label="Evaluations by problem", numeric=range(1, len(head))),
        element("h3", "Over all problems"),
        table(text.OVERALL_HEAD, text.overall_rows(summary, names), label="Over all problems", numeric=range(1, 7)),
    )


def _overhead(summary: Summary, names: Sequence[str], store: dict[str, Any]) -> Markup:
    store["figure-overhead"] = figures.overhead(summary)
    return element(
        "section",
        element("h2", "CPU time of the strategies"),
        _plot("overhead", "CPU milliseconds a proposal by strategy", f"{max(12, 5 + 1.7 * len(names)):.0f}rem"),
        element("p", "CPU time of asking and telling, mean over a search, one mark a problem.", cls="note"),
    )


def _luck(summary: Summary, store: dict[str, Any]) -> Markup:
    store["figure-ranks"] = figures.ranks(summary, "evaluations")
    store["figure-ranks-area"] = figures.ranks(summary, "area")
    chooser = element(
        "select",
        element("option", "evaluations to 99 %", value="figure-ranks"),
        element("option", "mean hypervolume over all evaluations", value="figure-ranks-area"),
        id="test",
        data_plot="plot-ranks",
    )
    size = f"{max(18, 8 + 2.6 * len(summary['strategies'])):.0f}rem"
    note = (
        "Percent of paired searches (same problem, same seed) in which the row is better than the column, equal ones "
        f"counted half; * where the difference is significant (Wilcoxon's signed-rank test, corrected by Holm). "
        f"{text.friedman_text(summary, 'evaluations')}"
    )
    return element(
        "section",
        element("h2", "Are the differences significant?"),
        element("div", element("label", "By", **{"for": "test"}), chooser, cls="chooser"),
        _plot("ranks", "How often each strategy is better than each other", size),
        element("p", note, cls="note"),
    )


def _everything(summary: Summary, names: Sequence[str]) -> Markup:
    rows = text.detail_rows(summary, names)
    return element(
        "section",
        element("h2", "Everything"),
        details("Medians with quartiles", table(text.DETAIL_HEAD, rows, label="All figures", numeric=range(2, 12))),
        details(
            "Problems",
            table(
                ["problem", "table", "objectives", "architectures", "best front"],
                text.settings_rows(summary),
                label="Problems",
            ),
        ),
        details(
            "Strategies",
            table(
                ["name", "strategy", "options", "sees", "budget", "seeds"], text.described(summary), label="Strategies"
            ),
        ),
    )


def _plot(name: str, label: str, height: str | None = None) -> Markup:
    return element(
        "figure",
        element(
            "div",
            id=f"plot-{name}",
            cls="plot",
            data_figure=f"figure-{name}",
            role="img",
            aria_label=label,
            style=f"height: {height}" if height else None,
        ),
    )
