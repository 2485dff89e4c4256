"""The problems of a comparison: named pairs of a published table and objectives."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from archsmith.benchmark import Benchmark, open_benchmark
from archsmith.errors import InvalidOption, unknown
from archsmith.metric import Objective, check_distinct

DEFAULT_BUDGET = 250
"""Evaluations of one search unless given."""


@dataclass(frozen=True)
class Problem:
    """A benchmark and the objectives on it.

    Args:
        name: short, for files and tables.
        benchmark: as :func:`archsmith.benchmark.open_benchmark` reads it.
        objectives: one or more, in a fixed order.
        budget: evaluations of one search.
        within: for a single objective, the distance from the best value at which it counts as found, in its unit.
        about: one line for a list.
    """

    name: str
    benchmark: str
    objectives: tuple[Objective, ...]
    budget: int = DEFAULT_BUDGET
    within: float | None = None
    about: str = ""

    @property
    def spec(self) -> str:
        """Benchmark and objectives as text; :func:`parse_problem` reads it back.

        >>> PROBLEMS["nb201-fpga"].spec
        'nasbench201 max val_acc min fpga_latency_ms'
        """
        return " ".join([self.benchmark, *map(str, self.objectives)])

    @property
    def entropy(self) -> int:
        """A number that depends only on ``spec``, for the seeds of its searches."""
        return int(hashlib.sha256(self.spec.encode()).hexdigest()[:12], 16)

    def open(self) -> Benchmark:
        """Its benchmark, with every objective among the metrics.

        Raises:
            UnknownName: for a metric that the benchmark does not have.
        """
        opened = open_benchmark(self.benchmark)
        for objective in self.objectives:
            if objective.metric not in opened.metrics:
                raise unknown(f"metric of the benchmark {self.benchmark}", objective.metric, opened.metrics)
        return opened


def _on(name: str, benchmark: str, objectives: str, about: str, within: float | None = None) -> Problem:
    return Problem(name, benchmark, _objectives(objectives), within=within, about=about)


def _objectives(text: str) -> tuple[Objective, ...]:
    return tuple(Objective.parse(part) for part in re.findall(r"\b(?:max|min) \S+", text))


PROBLEMS = {
    p.name: p
    for p in (
        _on("nb201-edgegpu", "nasbench201", "max val_acc min edgegpu_latency_ms", "cells on an edge GPU"),
        _on("nb201-raspi4", "nasbench201", "max val_acc min raspi4_latency_ms", "cells on a Raspberry Pi 4"),
        _on(
            "nb201-edgetpu",
            "nasbench201",
            "max val_acc min edgetpu_latency_ms",
            "cells on an edge TPU; those without a measured latency are failed evaluations and count as worst",
        ),
        _on("nb201-pixel3", "nasbench201", "max val_acc min pixel3_latency_ms", "cells on a Pixel 3 telephone"),
        _on("nb201-eyeriss-energy", "nasbench201", "max val_acc min eyeriss_energy_mj", "cells, energy on Eyeriss"),
        _on("nb201-fpga", "nasbench201", "max val_acc min fpga_latency_ms", "cells on an FPGA"),
        _on(
            "nb201-edgegpu-3",
            "nasbench201",
            "max val_acc min edgegpu_latency_ms min edgegpu_energy_mj",
            "cells on an edge GPU, time and energy: three objectives",
        ),
        _on("macro-flops", "nasbench_macro", "max mean_acc min flops", "layers of a chain, accuracy against FLOPs"),
        _on("macro-params", "nasbench_macro", "max mean_acc min params", "layers of a chain, accuracy against size"),
        *(
            _on(
                f"graph-{data}",
                f"nasbench_graph:dataset={data}",
                "max valid_perf min latency",
                f"graph neural networks on {data}",
            )
            for data in ("cora", "citeseer", "pubmed", "arxiv")
        ),
        _on(
            "ofa-surrogate",
            "ofa_mobilenet_v3",
            "max top1 min macs",
            "subnets of Once-for-All, with accuracy predicted by a fitted model; the true front is unknown",
        ),
        _on("nb201-single", "nasbench201", "max val_acc", "cells, accuracy alone", within=0.1),
    )
}
"""The named problems."""

QUICK_PROBLEMS = ("nb201-edgegpu", "macro-flops", "graph-cora")


def parse_problem(text: str) -> Problem:
    """A problem by its name, or one of the user's own: ``BENCHMARK max METRIC min METRIC ...``.

    >>> parse_problem("nasbench201 max val_acc min params_m").objectives[1].metric
    'params_m'

    Raises:
        UnknownName: with the nearest name.
        InvalidOption: for text of another form, or a metric given twice.
    """
    text = " ".join(text.split())
    if text in PROBLEMS:
        return PROBLEMS[text]
    benchmark, _, rest = text.partition(" ")
    if not rest:
        raise unknown("problem", text, PROBLEMS)
    found = _objectives(rest)
    if not found or " ".join(map(str, found)) != rest:
        raise InvalidOption(
            f"cannot read the problem {text!r}; write a benchmark and its objectives, such as "
            "'nasbench201 max val_acc min fpga_latency_ms'"
        )
    check_distinct(found)
    name = re.sub(r"[^\w.-]+", "-", text.replace("max ", "").replace("min ", "")).strip("-")
    return Problem(name, benchmark, found)


def parse_problems(given: Iterable[str], budget: int | None = None) -> list[Problem]:
    """Problems from several texts: names or patterns (``nb201-*``) with spaces between, or one of the user's own each.

    Args:
        given: the texts; all named problems if empty.
        budget: for all of them, instead of their own.

    Raises:
        UnknownName: for an unknown name, or a pattern that matches nothing.
    """
    texts: list[str] = []
    for text in given:
        texts += [text] if re.search(r"\s(max|min)\s", text) else text.split()
    found: dict[str, Problem] = {}
    for text in texts or PROBLEMS:
        names = fnmatch.filter(PROBLEMS, text) if set(text) & set("*?[") else [text]
        if not names:
            raise unknown("problem", text, PROBLEMS)
        for problem in map(parse_problem, names):
            found[problem.name] = problem if budget is None else replace(problem, budget=budget)
    return list(found.values())
