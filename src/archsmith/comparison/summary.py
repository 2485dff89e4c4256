"""Computes the summary of a comparison from its records: plain data for pages and plots."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from archsmith.benchmark import Benchmark
from archsmith.comparison.entry import RANDOM
from archsmith.comparison.landscape import LOGARITHMIC_SPAN, REFERENCE, Floats, Landscape
from archsmith.comparison.measures import LEVELS, SearchRun, measured, result
from archsmith.comparison.problem import PROBLEMS, Problem, parse_problem
from archsmith.comparison.record import SearchRecord, read_records
from archsmith.comparison.searching import opened
from archsmith.comparison.statistics import friedman, wilcoxon_holm
from archsmith.errors import DamagedFile, RunMismatch
from archsmith.files import read_json
from archsmith.trust import Names, names_of

FORMAT = 1
Cells = dict[tuple[str, str], list[SearchRun]]
"""(problem, strategy) -> its searches."""


class _Summary(TypedDict):
    """The field that every version of a summary has."""

    format: int


def summarise(folder: Path, *, date: str, trust: bool | Collection[str] = False) -> dict[str, Any]:
    """The summary of a comparison's records; plain data.

    Args:
        folder: that :func:`archsmith.comparison.compare` wrote.
        date: to put into the summary, such as ``2026-11-30``.
        trust: whether to import ``module:Class`` benchmarks that the records name: all of them, or only those given.

    Raises:
        UserError: when there are no records.
        MissingTable: when a table is no longer there.
        RunMismatch: for records of another version of a table.
        Untrusted: for records that name code of the user's own, unless they are trusted.
    """
    by_problem: dict[str, list[SearchRecord]] = defaultdict(list)
    for record in read_records(folder):
        by_problem[record.problem].append(record)
    order = {name: i for i, name in enumerate(PROBLEMS)}
    problems, results = [], []
    cells: Cells = {}
    for name in sorted(by_problem, key=lambda n: (order.get(n, len(order)), n)):
        records = by_problem[name]
        problem = _problem(records[0])
        trusted = trust if isinstance(trust, bool) else problem.benchmark in trust
        with names_of(Names(folder, own=trusted)):
            benchmark = _opened(problem, records)
        land = _landscape(problem, benchmark, records)
        problems.append(_about(problem, benchmark, land))
        for label in _labels(records):
            own = [r for r in records if r.label == label]
            budget = _budget(own)
            runs = [measured(r, _values(r, problem, benchmark), land, budget) for r in own]
            cells[name, label] = runs
            results.append({"problem": name, "strategy": label, **result(runs, land, budget)})
    everything = [r for records in by_problem.values() for r in records]
    return {
        "format": FORMAT,
        "date": date,
        "protocol": {
            "reference": REFERENCE,
            "logarithm_beyond": LOGARITHMIC_SPAN,
            "levels": [f"{x:g}" for x in LEVELS],
        },
        "versions": _versions(everything),
        "problems": problems,
        "strategies": [next(dict(r.entry) for r in everything if r.label == x) for x in _labels(everything)],
        "results": results,
        "overall": _overall(cells, results),
        "tests": {"area": _tests(cells, _area), "evaluations": _tests(cells, _evaluations)},
    }


def read_summary(path: Path) -> dict[str, Any]:
    """A summary that was written before.

    Raises:
        DamagedFile: when it is none.
        RunMismatch: for another version of its form.
    """
    data: dict[str, Any] = read_json(
        path, what="the summary of a comparison", way_out="make it anew: archsmith bench report", form=_Summary
    )
    if data["format"] != FORMAT:
        raise RunMismatch(f"{path} has the form {data['format']}, this version reads {FORMAT}; make it anew")
    return data


def _problem(record: SearchRecord) -> Problem:
    known = PROBLEMS.get(record.problem)
    spec = " ".join([record.benchmark, *record.objectives])
    if known is not None and known.spec == spec and known.within == record.within:
        return known
    own = parse_problem(spec)
    return Problem(record.problem, own.benchmark, own.objectives, within=record.within)


def _opened(problem: Problem, records: Sequence[SearchRecord]) -> Benchmark:
    benchmark = opened(problem)
    if other := [r for r in records if r.table != benchmark.fingerprint]:
        raise RunMismatch(
            f"{len(other)} records on {problem.name} were made on another version of the table {problem.benchmark} "
            f"(such as {other[0].label}, seed {other[0].seed}); give 'archsmith bench run' again, it makes them anew"
        )
    _check(problem, benchmark, records)
    return benchmark


def _check(problem: Problem, benchmark: Benchmark, records: Sequence[SearchRecord]) -> None:
    """Refuse records that do not fit their own problem.

    Raises:
        DamagedFile: naming the search.
    """
    objectives = tuple(map(str, problem.objectives))
    rows = len(benchmark.rows)
    for record in records:
        wrong = (record.benchmark, record.objectives, record.within) != (problem.benchmark, objectives, problem.within)
        if wrong or not record.positions or max(record.positions) >= rows:
            raise DamagedFile(
                f"the record of {record.label!r} on {record.problem!r}, seed {record.seed}, does not fit its problem; "
                "delete it and give 'archsmith bench run' again"
            )


def _budget(records: Sequence[SearchRecord]) -> int:
    """The budget up to which the searches of one strategy are compared; finished searches do not reduce it."""
    return min((r.budget for r in records if r.ended == "budget"), default=max(r.budget for r in records))


def _values(record: SearchRecord, problem: Problem, benchmark: Benchmark) -> Floats:
    """Values of the objectives of each evaluation, ``(t, m)``, NaN for failed ones."""
    if record.values is not None:
        missing = (math.nan,) * len(problem.objectives)
        return np.array([missing if row is None else row for row in record.values], dtype=float)
    at = np.array(record.positions, dtype=np.int64)
    found = np.column_stack([benchmark.columns[o.metric][at] for o in problem.objectives])
    found[at < 0] = np.nan
    return found


def _landscape(problem: Problem, benchmark: Benchmark, records: Sequence[SearchRecord]) -> Landscape:
    """The landscape of the whole table; on a surrogate benchmark, of all evaluations of all searches."""
    if benchmark.exhaustive:
        values = np.column_stack([benchmark.columns[o.metric] for o in problem.objectives])
        return Landscape.of(values, problem.objectives)
    return Landscape.of(np.concatenate([_values(r, problem, benchmark) for r in records]), problem.objectives)


def _about(problem: Problem, benchmark: Benchmark, land: Landscape) -> dict[str, Any]:
    pairs = zip(problem.objectives, land.logarithmic.tolist(), strict=True)
    return {
        "name": problem.name,
        "benchmark": problem.benchmark,
        "about": problem.about,
        "objectives": [str(o) for o in problem.objectives],
        "logarithmic": [o.metric for o, yes in pairs if yes],
        "within": problem.within,
        "table": benchmark.fingerprint,
        "architectures": benchmark.space.size().value,
        "true_front": benchmark.exhaustive,
        "front": len(land.front),
        "volume": round(land.volume, 6),
        "average": {o.metric: float(f"{x:.6g}") for o, x in zip(problem.objectives, land.mean, strict=True)},
        "best": {o.metric: float(f"{x:.6g}") for o, x in zip(problem.objectives, land.best, strict=True)},
    }


def _labels(records: Iterable[SearchRecord]) -> list[str]:
    """Labels in alphabetical order, random search last."""
    return sorted({r.label for r in records}, key=lambda label: (label == RANDOM, label))


def _versions(records: Iterable[SearchRecord]) -> dict[str, str]:
    found: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for name, version in record.versions.items():
            found[name].add(version)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def _overall(cells: Cells, results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each strategy over all its problems; the budget is used where the median search did not reach the level."""
    found = []
    for label in dict.fromkeys(r["strategy"] for r in results):
        own = [r for r in results if r["strategy"] == label]
        medians = [r["evaluations_to"][r["key_level"]]["median"] for r in own]
        boxes = [r["box_hypervolume"]["mean"] for r in own if r["box_hypervolume"]]
        counted = [r["budget"] if m is None else m for r, m in zip(own, medians, strict=True)]
        found.append(
            {
                "strategy": label,
                "problems": len(own),
                "searches": sum(len(cells[r["problem"], label]) for r in own),
                "evaluations": round(float(np.exp(np.mean(np.log(counted)))), 1),
                "not_reached": sum(m is None for m in medians),
                "box_hypervolume": round(float(np.mean(boxes)), 5) if boxes else None,
                "ms_each": round(float(np.mean([r["ms_each"]["mean"] for r in own])), 3),
            }
        )
    return found


def _area(run: SearchRun, budget: int) -> float:
    return -float(run.shares[:budget].mean())


def _evaluations(run: SearchRun, budget: int) -> float:
    return run.reached(budget)


def _tests(cells: Cells, score: Any) -> dict[str, Any]:
    """Friedman's test over the problems that all strategies share, and every pair over problems and seeds."""
    labels = list(dict.fromkeys(label for _, label in cells))
    problems = list(dict.fromkeys(problem for problem, _ in cells))
    most = max(sum((p, x) in cells for p in problems) for x in labels)
    complete = [x for x in labels if sum((p, x) in cells for p in problems) == most]
    shared = [p for p in problems if all((p, x) in cells for x in complete)]
    scores: dict[str, list[float]] = {}
    for label in complete:
        budgets = {p: min(len(cells[p, x][0].shares) for x in complete) for p in shared}
        scores[label] = [float(np.median([score(r, budgets[p]) for r in cells[p, label]])) for p in shared]
    over_problems = friedman(scores)
    differences = {pair: _differences(cells, problems, pair, score) for pair in combinations(labels, 2)}
    return {
        "problems": shared,
        "left_out": [x for x in labels if x not in complete],
        "friedman": None if over_problems is None else {"statistic": over_problems[0], "p": over_problems[1]},
        "mean_ranks": None if over_problems is None else over_problems[2],
        "pairs": [asdict(pair) for pair in wilcoxon_holm(differences)],
    }


def _differences(cells: Cells, problems: Sequence[str], pair: tuple[str, str], score: Any) -> list[float]:
    """Score of the first minus that of the second, smaller is better, for each problem and seed that both have."""
    found = []
    for problem in problems:
        first, second = ({r.seed: r for r in cells.get((problem, label), [])} for label in pair)
        for seed in sorted(first.keys() & second.keys()):
            budget = min(len(first[seed].shares), len(second[seed].shares))
            found.append(score(first[seed], budget) - score(second[seed], budget))
    return found
