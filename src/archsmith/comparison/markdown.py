"""A summary as Markdown: the report of a comparison, and the page of the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from archsmith.comparison import text
from archsmith.comparison.text import Summary
from archsmith.texts import escaped


def as_markdown(summary: Summary, *, title: str, intro: str) -> str:
    """The whole summary as one page.

    Args:
        summary: as :func:`archsmith.comparison.summarise` made it.
        title: of the page.
        intro: a paragraph below it.
    """
    names = text.labels(summary)
    parts = [f"# {title}", intro, settings(summary)]
    parts += ["## Evaluations until the front is found", _main_text(summary)]
    parts += [_table(["problem", *names], text.main_rows(summary, names))]
    lead = next((s["label"] for s in summary["strategies"] if s["label"] == "auto"), names[0])
    lost = text.losses(summary, lead)
    parts += [f"## Where {lead} loses", "\n".join(f"- {line}" for line in lost) or "Nowhere, at the median."]
    parts += ["## Over all problems", _overall_text(), _table(text.OVERALL_HEAD, text.overall_rows(summary, names))]
    parts += ["## Hypervolume in the front's own box", _box_text()]
    parts += [_table(["problem", *names], text.figure_rows(summary, names, "box_hypervolume", "median", 3))]
    parts += ["## What the strategies cost", _overhead_text()]
    parts += [_table(["problem", *names], text.figure_rows(summary, names, "ms_each", "median", 1))]
    parts += ["## Are the differences significant?", *_tests(summary)]
    parts += [
        "## Problems",
        _table(["problem", "table", "objectives", "architectures", "best front"], text.settings_rows(summary)),
    ]
    head = ["name", "strategy", "options", "sees", "budget", "seeds"]
    parts += ["## Strategies", _table(head, text.described(summary))]
    parts += [
        "## Everything",
        "Medians, with quartiles in brackets.",
        _table(text.DETAIL_HEAD, text.detail_rows(summary, names)),
    ]
    return "\n\n".join(parts) + "\n"


def settings(summary: Summary) -> str:
    """Number of searches, date and versions."""
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    searches = sum(o["searches"] for o in summary["overall"])
    mixed = sorted({r["strategy"] for r in summary["results"] if len(r["code"]) > 1})
    note = f" Records of more than one version of the code: {', '.join(mixed)}." if mixed else ""
    return f"{searches:,} searches; figures of {summary['date']}; {versions}.{note}"


def _main_text(summary: Summary) -> str:
    within = [p for p in summary["problems"] if p["within"] is not None and len(p["objectives"]) == 1]
    also = "".join(
        f" On {p['name']}, with one objective, evaluations are counted until a value within "
        f"{p['within']:g} of the best is found."
        for p in within
    )
    unknown = text.without(summary["problems"])
    surrogate = (
        f" The true front of {', '.join(unknown)} is unknown; the union of all searches here replaces it."
        if unknown
        else ""
    )
    return (
        "Medians of unique evaluations until 95 % / 99 % of the true front's hypervolume are reached; `>B` where more "
        f"than half of the searches did not reach it within their budget B, `-` where a strategy was not run."
        f"{also}{surrogate}"
    )


def _overall_text() -> str:
    return (
        "Evaluations: the geometric mean over problems of the median evaluations to 99 % (with one objective: to near "
        "the best value); where that was not reached the budget is used, and the figure is a lower bound (≥). Mean "
        "rank: by the same figure, 1 is best. Hypervolume: in the front's own box, at the end of the budget. Time: CPU "
        "time of asking and telling."
    )


def _box_text() -> str:
    return (
        "Medians at the end of the budget. Plain hypervolume saturates where very bad architectures stretch the axes. "
        "Here 0 is the true front's ideal point, 1 its nadir point, which is the reference, and the true front's "
        "volume is 1."
    )


def _overhead_text() -> str:
    return "CPU milliseconds of asking and telling for one proposal, one thread; mean over a search, median over seeds."


def _tests(summary: Summary) -> Iterable[str]:
    for test, what in (("evaluations", "evaluations to 99 %"), ("area", "mean hypervolume over all evaluations")):
        yield f"### By {what}"
        yield (
            f"{text.friedman_text(summary, test)} Below, searches are paired by problem and seed: Wilcoxon's "
            "signed-rank test, corrected for the number of tests (Holm)."
        )
        yield _table(text.PAIR_HEAD, text.pair_rows(summary, test))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    """One line without markup: names come from records, and Markdown may contain HTML."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", escaped(" ".join(text.splitlines())).replace("|", "\\|"))
