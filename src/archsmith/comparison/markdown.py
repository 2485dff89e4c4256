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
    parts += ["## Is it luck?", *_tests(summary)]
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
    """When it was made, and with what."""
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    searches = sum(o["searches"] for o in summary["overall"])
    mixed = sorted({r["strategy"] for r in summary["results"] if len(r["code"]) > 1})
    doubt = f" Made by more than one version of their code: {', '.join(mixed)}." if mixed else ""
    return f"{searches:,} searches; figures of {summary['date']}; {versions}.{doubt}"


def _main_text(summary: Summary) -> str:
    within = [p for p in summary["problems"] if p["within"] is not None and len(p["objectives"]) == 1]
    also = "".join(
        f" On {p['name']}, with one objective, the figure is evaluations until a value within "
        f"{p['within']:g} of the best."
        for p in within
    )
    unknown = text.without(summary["problems"])
    surrogate = (
        f" Nobody knows the true front of {', '.join(unknown)}: theirs is the union of all searches here."
        if unknown
        else ""
    )
    return (
        "Medians of unique evaluations until 95 % / 99 % of the true front's hypervolume are reached; `>B` where more "
        f"than half of the searches did not get there within their budget B, `-` where a strategy took no part."
        f"{also}{surrogate}"
    )


def _overall_text() -> str:
    return (
        "The geometric mean over problems of the median evaluations to 99 % (of evaluations to near the best value "
        "with one objective); where that was not reached the budget counts, and the figure is a lower bound (≥). The "
        "mean rank is by the same figure (1 is best), the hypervolume that in the front's own box at the end, the time "
        "CPU time of asking and telling."
    )


def _box_text() -> str:
    return (
        "At the end of the budget, medians. Plain hypervolume saturates where very bad architectures stretch the axes; "
        "here the true front's own ideal is 0, its nadir is 1 and the reference, and the true front's volume is 1."
    )


def _overhead_text() -> str:
    return "CPU milliseconds of asking and telling for one proposal, one thread; mean over a search, median over seeds."


def _tests(summary: Summary) -> Iterable[str]:
    for test, what in (("evaluations", "evaluations to 99 %"), ("area", "mean hypervolume over all evaluations")):
        yield f"### By {what}"
        yield (
            f"{text.friedman_text(summary, test)} Below, pairs of searches on the same problem with the same number as "
            "seed: Wilcoxon's signed-rank test, corrected for the number of pairs (Holm)."
        )
        yield _table(text.PAIR_HEAD, text.pair_rows(summary, test))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    """One line without markup: names come from records, and Markdown may hold HTML."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", escaped(" ".join(text.splitlines())).replace("|", "\\|"))
