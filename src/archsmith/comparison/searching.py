"""One search of a comparison: a strategy, a problem, a seed; only the strategy's CPU time is counted."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from archsmith.benchmark import Benchmark, default_folder
from archsmith.comparison._sources import code_digest
from archsmith.comparison.entry import Entry
from archsmith.comparison.problem import Problem
from archsmith.comparison.record import SearchRecord
from archsmith.errors import ArchsmithError
from archsmith.evaluation import Evaluation
from archsmith.events import KNOWN_PROPOSALS, Reason
from archsmith.strategy.base import proposals
from archsmith.version import __version__

LIBRARIES = ("numpy", "scipy", "moocore", "scikit-learn", "torch", "pymoo", "optuna", "botorch", "gpytorch", "cmaes")
MODULE_OF = {"scikit-learn": "sklearn"}


def opened(problem: Problem) -> Benchmark:
    """The benchmark of a problem, opened once a process."""
    return _opened(problem, default_folder())


@lru_cache(maxsize=64)
def _opened(problem: Problem, folder: Path) -> Benchmark:
    del folder  # a key of the cache only: the folder of tables may change in this process
    return problem.open()


def identity(entry: Entry, problem: Problem, seed: int) -> dict[str, Any]:
    """The fields that two equal searches share; the budget is not among them, since no strategy knows it."""
    texts = tuple(sorted(value for value in entry.options.values() if isinstance(value, str)))
    return {
        "problem": problem.name,
        "benchmark": problem.benchmark,
        "objectives": tuple(map(str, problem.objectives)),
        "within": problem.within,
        "table": opened(problem).fingerprint,
        "entry": entry.to_json(),
        "code": code_digest(entry.name, texts),
        "seed": seed,
    }


def search_table(entry: Entry, problem: Problem, seed: int, budget: int | None = None) -> SearchRecord:
    """Run a search until the budget of unique evaluations is spent or the strategy has nothing left to propose.

    Args:
        entry: the strategy and its options.
        problem: what it searches.
        seed: seeds the strategy, together with the problem's ``entropy``.
        budget: unique evaluations; the problem's own unless given.

    Raises:
        ArchsmithError: for a strategy that proposes nothing at all.
    """
    budget = problem.budget if budget is None else budget
    benchmark = opened(problem)
    metrics = [o.metric for o in problem.objectives]
    rng = np.random.default_rng([seed, problem.entropy])
    clock = _Clock()
    with clock:
        strategy = entry.build(problem, benchmark, rng)
    met: dict[str, Evaluation] = {}
    repeated, ended = 0, "budget"
    while len(met) < budget:
        with clock:
            proposed = strategy.ask(min(entry.batch, budget - len(met)))
        if not (asked := proposals(proposed, of=strategy)):
            ended = _because("finished")
            break
        results = [met.get(p.architecture.key) or benchmark.evaluate(p, metrics) for p in asked]
        with clock:
            strategy.tell(results)
        before = len(met)
        met |= {e.architecture.key: e for e in results}
        clock.share(len(met) - before)
        repeated = 0 if len(met) > before else repeated + len(asked)
        if repeated >= KNOWN_PROPOSALS:
            ended = _because("known")
            break
    done = list(met.values())
    if not done:
        raise ArchsmithError(f"{entry.label} proposed nothing; its ask(n) must return up to n proposals")
    return SearchRecord(
        **identity(entry, problem, seed),
        budget=budget,
        ended=ended,
        **_sequence(benchmark, done, metrics),
        cpu_ms=tuple(clock.milliseconds),
        versions=_versions(),
    )


def _because(reason: Reason) -> str:
    return reason


class _Clock:
    """CPU time of this process inside the block, divided among the new evaluations."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self._spent = 0.0

    def __enter__(self) -> None:
        self._started = time.process_time()

    def __exit__(self, *_: object) -> None:
        self._spent += time.process_time() - self._started

    def share(self, evaluations: int) -> None:
        if evaluations:
            self.milliseconds += [round(1e3 * self._spent / evaluations, 3)] * evaluations
            self._spent = 0.0


def _sequence(benchmark: Benchmark, done: list[Evaluation], metrics: list[str]) -> Mapping[str, Any]:
    """The evaluations as positions in the table; with rows and values where the table does not hold the whole space."""
    rows = benchmark.space.rows([e.architecture for e in done])
    positions = tuple(benchmark.find(rows).tolist())
    if benchmark.exhaustive:
        return {"positions": positions, "rows": None, "values": None}
    values = tuple(tuple(e[m] for m in metrics) if e.ok else None for e in done)
    return {"positions": positions, "rows": tuple(map(tuple, rows.tolist())), "values": values}


def _versions() -> dict[str, str]:
    found = {"archsmith": __version__, "python": platform.python_version()}
    for library in LIBRARIES:
        if MODULE_OF.get(library, library) in sys.modules:
            try:
                found[library] = version(library)
            except PackageNotFoundError:  # installed without its metadata
                found[library] = "unknown"
    return found
