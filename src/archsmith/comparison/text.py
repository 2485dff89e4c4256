"""The tables of a summary as text, for the console, Markdown pages and the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archsmith.comparison.entry import RANDOM
from archsmith.comparison.statistics import SIGNIFICANT_P

Summary = Mapping[str, Any]
Rows = list[list[str]]


def labels(summary: Summary) -> list[str]:
    """The strategies: by number of problems, then those that need the fewest evaluations first; random search last."""
    overall = sorted(summary["overall"], key=lambda o: (o["strategy"] == RANDOM, -o["problems"], o["evaluations"]))
    return [o["strategy"] for o in overall]


def cell(summary: Summary, problem: str, strategy: str) -> Mapping[str, Any] | None:
    """The result of one strategy on one problem; ``None`` where it was not run."""
    found = (r for r in summary["results"] if r["problem"] == problem and r["strategy"] == strategy)
    return next(found, None)


def hits(result: Mapping[str, Any], level: str) -> str:
    """The median of evaluations to a level, such as ``53`` or ``>250``."""
    median = result["evaluations_to"][level]["median"]
    return f">{result['budget']}" if median is None else f"{median:.0f}"


def hits_with_quartiles(result: Mapping[str, Any], level: str) -> str:
    """Such as ``53 (40, 71)``."""
    found = result["evaluations_to"][level]
    ends = [f">{result['budget']}" if found[q] is None else f"{found[q]:.0f}" for q in ("low", "high")]
    return f"{hits(result, level)} ({', '.join(ends)})"


def main_rows(summary: Summary, strategies: Sequence[str]) -> Rows:
    """One row a problem: its name, then each strategy's evaluations to 95 / 99 %, or to ``within`` if it is given."""
    rows = []
    for problem in summary["problems"]:
        row = [problem["name"]]
        for strategy in strategies:
            result = cell(summary, problem["name"], strategy)
            if result is None:
                row.append("-")
            elif result["key_level"] == "within":
                row.append(hits(result, "within"))
            else:
                row.append(f"{hits(result, '95')} / {hits(result, '99')}")
        rows.append(row)
    return rows


def figure_rows(summary: Summary, strategies: Sequence[str], name: str, part: str, digits: int) -> Rows:
    """One row a problem: its name, then one figure of each strategy."""
    rows = []
    for problem in summary["problems"]:
        results = [cell(summary, problem["name"], s) for s in strategies]
        values = [None if r is None or r[name] is None else r[name][part] for r in results]
        if any(v is not None for v in values):
            rows.append([problem["name"], *("-" if v is None else f"{v:.{digits}f}" for v in values)])
    return rows


def overall_rows(summary: Summary, strategies: Sequence[str]) -> Rows:
    """One row a strategy, over all its problems."""
    rows = []
    for strategy in strategies:
        o = next(o for o in summary["overall"] if o["strategy"] == strategy)
        ranks = summary["tests"]["evaluations"]["mean_ranks"] or {}
        rows.append(
            [
                strategy,
                f"{o['problems']}, {o['searches']}",
                f"{'≥ ' if o['not_reached'] else ''}{o['evaluations']:.0f}",
                f"{o['not_reached']} of {o['problems']}",
                f"{ranks[strategy]:.2f}" if strategy in ranks else "-",
                "-" if o["box_hypervolume"] is None else f"{o['box_hypervolume']:.3f}",
                f"{o['ms_each']:.1f}",
            ]
        )
    return rows


OVERALL_HEAD = [
    "strategy",
    "problems, searches",
    "evaluations to 99 %",
    "not reached",
    "mean rank",
    "box hypervolume",
    "ms a proposal",
]

DETAIL_HEAD = [
    *("problem", "strategy", "seeds", "90 %", "95 %", "99 %", "99.9 %"),
    *("hypervolume", "in the box", "IGD+", "CPU s", "gain on the average"),
]


def detail_rows(summary: Summary, strategies: Sequence[str]) -> Rows:
    """One row a problem and strategy, with quartiles."""
    rows = []
    for problem in summary["problems"]:
        for strategy in strategies:
            r = cell(summary, problem["name"], strategy)
            if r is None:
                continue
            levels = [hits_with_quartiles(r, level) for level in ("90", "95", "99", "99.9")]
            if r["key_level"] == "within":
                levels = ["-", "-", hits_with_quartiles(r, "within"), "-"]
            box = "-" if r["box_hypervolume"] is None else f"{r['box_hypervolume']['median']:.3f}"
            gains = ", ".join(f"{100 * g['median']:.1f} %" for g in r["improvement"].values())
            head = [problem["name"], strategy, str(len(r["seeds"])), *levels]
            tail = [f"{r['hypervolume']['median']:.4f}", box, f"{r['igd_plus']['median']:.4f}"]
            rows.append([*head, *tail, f"{r['cpu_s']['median']:.2f}", gains])
    return rows


SHORT_HEAD = ["problem", "strategy", "seeds", "95 %", "99 %", "99.9 %", "in the box", "CPU s"]


def short_rows(summary: Summary, strategies: Sequence[str]) -> Rows:
    """As :func:`detail_rows` for a terminal: medians alone."""
    rows = []
    for long in detail_rows(summary, strategies):
        row = dict(zip(DETAIL_HEAD, long, strict=True))
        rows.append([row[name].partition(" (")[0] for name in SHORT_HEAD])
    return rows


PAIR_HEAD = ["strategies", "better / worse / equal", "p (Wilcoxon)", "p (Holm)", "verdict"]


def pair_rows(summary: Summary, test: str) -> Rows:
    """One row a pair of strategies."""
    rows = []
    for pair in summary["tests"][test]["pairs"]:
        better = pair["first"] if pair["wins"] > pair["losses"] else pair["second"]
        verdict = f"{better} is better" if pair["p_holm"] < SIGNIFICANT_P else "no significant difference"
        rows.append(
            [
                f"{pair['first']} against {pair['second']}",
                f"{pair['wins']} / {pair['losses']} / {pair['ties']}",
                _p(pair["p"]),
                _p(pair["p_holm"]),
                verdict,
            ]
        )
    return rows


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def friedman_text(summary: Summary, test: str) -> str:
    """One sentence on whether the strategies differ at all."""
    found = summary["tests"][test]
    if found["friedman"] is None:
        return "Friedman's test needs three strategies and two problems that all of them searched."
    out = (
        f"; left out, since they did not search all of them: {', '.join(found['left_out'])}"
        if found["left_out"]
        else ""
    )
    p = _p(found["friedman"]["p"])
    return f"Friedman's test over {len(found['problems'])} problems: p {p if p.startswith('<') else '= ' + p}{out}."


def settings_rows(summary: Summary) -> Rows:
    """One row a problem: what is searched."""
    rows = []
    for p in summary["problems"]:
        goals = ", ".join(f"{o} (log)" if o.split(" ")[1] in p["logarithmic"] else o for o in p["objectives"])
        front = f"{p['front']} points" if p["true_front"] else f"{p['front']} points, the union of these searches"
        rows.append(
            [
                p["name"],
                p["benchmark"],
                goals,
                f"{p['architectures']:.3g}" if p["architectures"] > 10**9 else f"{p['architectures']:,}",
                front,
            ]
        )
    return rows


def without(problems: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the problems whose true front is unknown."""
    return [p["name"] for p in problems if not p["true_front"]]


def described(summary: Summary) -> Rows:
    """One row a strategy: its name, its options, and the information that it gets."""
    rows = []
    for s in sorted(summary["strategies"], key=lambda s: labels(summary).index(s["label"])):
        options = ", ".join(f"{k}={v}" for k, v in s["options"].items()) or "defaults"
        sees = [] if s["graph"] else ["no graph view"]
        sees += [f"free metrics: {', '.join(s['free'])}"] if s["free"] else []
        sees += [f"asked for {s['batch']} at once"] if s["batch"] > 1 else []
        results = [r for r in summary["results"] if r["strategy"] == s["label"]]
        budgets, seeds = ({*(r["budget"] for r in results)}, {*(len(r["seeds"]) for r in results)})
        rows.append([s["label"], s["name"], options, ", ".join(sees) or "-", _range(budgets), _range(seeds)])
    return rows


def losses(summary: Summary, strategy: str) -> list[str]:
    """Where another method needs fewer evaluations at the median, or ends with more volume in the front's own box.

    Other entries of the same method, and entries that get free metrics where ``strategy`` does not, are left out.
    """
    about = {s["label"]: s for s in summary["strategies"]}
    free = bool(about[strategy]["free"])
    rivals = [x for x, s in about.items() if s["name"] != about[strategy]["name"] and bool(s["free"]) <= free]
    found = []
    for problem in summary["problems"]:
        own = cell(summary, problem["name"], strategy)
        others = [(x, r) for x in rivals if (r := cell(summary, problem["name"], x)) is not None]
        if own is None or not others:
            continue
        level, never = own["key_level"], float("inf")
        fewest = min(others, key=lambda o: _or(o[1]["evaluations_to"][level]["median"], never))
        if _or(fewest[1]["evaluations_to"][level]["median"], never) < _or(
            own["evaluations_to"][level]["median"], never
        ):
            found.append(f"{problem['name']}: {fewest[0]} {hits(fewest[1], level)}, {strategy} {hits(own, level)}")
        if own["box_hypervolume"] is None:
            continue
        fullest = max(others, key=lambda o: o[1]["box_hypervolume"]["median"])
        most, ours = fullest[1]["box_hypervolume"]["median"], own["box_hypervolume"]["median"]
        if most > ours and own["budget"] >= fullest[1]["budget"]:
            found.append(f"{problem['name']}, in the box at the end: {fullest[0]} {most:.4f}, {strategy} {ours:.4f}")
    return found


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _range(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
