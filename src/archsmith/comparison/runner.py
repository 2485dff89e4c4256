"""Runs strategies x problems x seeds in several processes; finished searches in the folder are kept."""

from __future__ import annotations

import fnmatch
import multiprocessing
import os
import signal
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import numpy as np

from archsmith.comparison.entry import COUNTED_COLUMNS, Entry
from archsmith.comparison.problem import Problem
from archsmith.comparison.record import SearchRecord, read_record, record_path, write_record
from archsmith.comparison.searching import identity, opened, search_table
from archsmith.errors import ArchsmithError, DamagedFile, InvalidOption, MissingExtra, MissingTable, unknown

ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"),
    "OMP_WAIT_POLICY": "PASSIVE",
}
_STOP_CHECK_S = 0.5
"""Seconds between two checks for a stop request."""


@dataclass(frozen=True)
class Step:
    """Progress of a comparison.

    Args:
        done: finished searches, including those kept.
        total: all searches.
        text: the last finished search.
        remaining_s: estimated seconds until the end; ``None`` where there is no estimate yet.
    """

    done: int
    total: int
    text: str
    remaining_s: float | None


@dataclass
class ComparisonOutcome:
    """The outcome of a comparison.

    Attributes:
        made: searches that were run.
        kept: finished searches that were in the folder.
        notes: what was left out or done again, and why.
        failures: searches that ended with an error; the same command tries them again.
        missing: problems that were left out because their table was not imported, and how to get it.
        idle: labels of entries that ran on no problem; the notes say why.
        interrupted: whether it was asked to stop; the same command goes on.
    """

    made: int = 0
    kept: int = 0
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)
    interrupted: bool = False

    def note(self, text: str) -> None:
        """Add a note once."""
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True)
class _Task:
    entry: Entry
    problem: Problem
    seed: int

    def __str__(self) -> str:
        return f"{self.entry.label} on {self.problem.name}, seed {self.seed}"


@dataclass(frozen=True)
class _Ended:
    task: _Task
    record: SearchRecord | None
    seconds: float
    missing: str = ""
    error: str = ""


def compare(
    entries: Sequence[Entry],
    problems: Sequence[Problem],
    seeds: Sequence[int],
    folder: Path,
    *,
    workers: int = 0,
    any_code: bool = False,
    on_step: Callable[[Step], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> ComparisonOutcome:
    """Run the searches of ``entries`` x ``problems`` x ``seeds`` that ``folder`` has no records of.

    A record is kept if it was made by the same code with the same options on the same table, with at least the same
    budget. The result of a search does not depend on the other searches, their order, or the number of processes.

    Args:
        entries: with distinct labels.
        problems: each with its budget.
        seeds: of the searches.
        folder: made where it is missing; later calls may add entries, problems and seeds.
        workers: processes of one thread each; 0 runs everything in this process.
        any_code: also keep records of another version of the strategy's code.
        on_step: called with progress.
        stop: called regularly; true ends the comparison after the searches in progress.

    Raises:
        UserError: for options that a strategy refuses, and columns that no problem has.
        MissingTable: when no problem's table was imported; otherwise problems without one are left out.
    """
    if workers < 0 or not (entries and problems and seeds):
        raise InvalidOption("a comparison needs a strategy, a problem and a seed, and no negative number of workers")
    outcome = ComparisonOutcome()
    tasks = _tasks(entries, problems, seeds, outcome)
    progress = _Progress(len(tasks), max(1, workers), on_step)
    missing = []
    for task in tasks:
        record = _found(folder, task, outcome, any_code=any_code)
        if record is None:
            missing.append(task)
        else:
            outcome.kept += 1
            progress.advance(task, sum(record.cpu_ms) / 1e3)
    progress.left(missing)
    dropped = set[str]()
    for ended in (_in_processes if workers else _here)(missing, workers, stop, dropped):
        if ended.record is not None:
            write_record(folder, ended.record)
            outcome.made += 1
        elif ended.missing:
            dropped.add(ended.task.entry.label)
            outcome.note(f"{ended.task.entry.label} is left out: {ended.missing}")
        else:
            outcome.failures.append(f"{ended.task}: {ended.error}")
        progress.advance(ended.task, ended.seconds)
    taking_part = {task.entry.label for task in tasks} - dropped
    outcome.idle = [c.label for c in entries if c.label not in taking_part]
    outcome.interrupted = stop()
    return outcome


def _tasks(
    entries: Sequence[Entry], problems: Sequence[Problem], seeds: Sequence[int], outcome: ComparisonOutcome
) -> list[_Task]:
    """All searches, seed by seed, so that an interrupted comparison is complete for some seeds."""
    problems = _with_table(problems, outcome)
    _check_columns(entries, problems)
    taking_part: set[tuple[str, str]] = set()
    for entry in entries:
        try:
            for problem in problems:
                if reason := entry.excluded(problem, opened(problem)):
                    outcome.note(reason)
                    continue
                entry.build(problem, opened(problem), np.random.default_rng(0))  # refuses wrong options early
                taking_part.add((entry.label, problem.name))
        except MissingExtra as error:
            outcome.note(f"{entry.label} is left out: {error}")
            taking_part = {pair for pair in taking_part if pair[0] != entry.label}
    return [_Task(c, p, s) for s in seeds for p in problems for c in entries if (c.label, p.name) in taking_part]


def _check_columns(entries: Sequence[Entry], problems: Sequence[Problem]) -> None:
    """Refuse a column that none of the tables has; ``/free`` without columns takes those there are."""
    columns = sorted({column for problem in problems for column in opened(problem).columns})
    for entry in entries:
        for pattern in entry.free if entry.free != COUNTED_COLUMNS else ():
            if not fnmatch.filter(columns, pattern):
                raise unknown("column of these problems' tables", pattern, columns)


def _with_table(problems: Sequence[Problem], outcome: ComparisonOutcome) -> list[Problem]:
    """The problems whose table was imported; the others are noted."""
    found: list[Problem] = []
    missing: list[MissingTable] = []
    for problem in problems:
        try:
            opened(problem)
            found.append(problem)
        except MissingTable as error:
            outcome.missing.append(f"{problem.name} is left out: {error}")
            missing.append(error)
    if missing and not found:
        raise missing[0]
    return found


def _found(folder: Path, task: _Task, outcome: ComparisonOutcome, *, any_code: bool) -> SearchRecord | None:
    """The record of ``task``, if there is one to keep."""
    path = record_path(folder, task.problem.name, task.entry.label, task.seed)
    if not path.exists():
        return None
    try:
        record = read_record(path)
    except DamagedFile as error:
        outcome.note(f"done again: {error}")
        return None
    wanted = identity(task.entry, task.problem, task.seed)
    if any_code:
        del wanted["code"]
    if record.matches(wanted | {"budget": task.problem.budget}):
        return record
    different = [key for key, value in wanted.items() if getattr(record, key) != value] or ["budget"]
    outcome.note(
        f"{task.entry.label} on {task.problem.name} is done again: the record has another {', '.join(different)}"
    )
    return None


class _Progress:
    """Counts searches, and estimates the remaining time from similar searches."""

    def __init__(self, total: int, workers: int, on_step: Callable[[Step], None]) -> None:
        self._total, self._workers, self._on_step = total, workers, on_step
        self._took: dict[str, list[float]] = defaultdict(list)
        self._left: list[_Task] = []
        self._done = 0

    def left(self, tasks: Sequence[_Task]) -> None:
        self._left = list(tasks)

    def advance(self, task: _Task, seconds: float) -> None:
        self._done += 1
        for key in _similarity_keys(task):
            self._took[key].append(seconds / task.problem.budget)
        if task in self._left:
            self._left.remove(task)
            self._on_step(Step(self._done, self._total, str(task), sum(map(self._guess, self._left)) / self._workers))

    def _guess(self, task: _Task) -> float:
        known = next(key for key in _similarity_keys(task) if key in self._took)
        return mean(self._took[known][-20:]) * task.problem.budget


def _similarity_keys(task: _Task) -> tuple[str, str, str]:
    """Keys of searches that take about as long, the most similar first."""
    return f"{task.entry.label} {task.problem.name}", task.entry.label, ""


def _attempt(task: _Task) -> _Ended:
    """Run one search; errors become part of the result."""
    started = time.monotonic()
    try:
        record = search_table(task.entry, task.problem, task.seed)
    except MissingExtra as error:
        return _Ended(task, None, time.monotonic() - started, missing=str(error))
    except Exception as error:  # noqa: BLE001 - a strategy may raise anything; it is reported, and the others go on
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"
        text = str(error) if isinstance(error, ArchsmithError) else text  # archsmith's errors name the place themselves
        return _Ended(task, None, time.monotonic() - started, error=text)
    return _Ended(task, record, time.monotonic() - started)


def _here(tasks: Sequence[_Task], _: int, stop: Callable[[], bool], dropped: set[str]) -> Iterator[_Ended]:
    for task in tasks:
        if stop():
            return
        if task.entry.label not in dropped:
            yield _attempt(task)


def _in_processes(
    tasks: Sequence[_Task], workers: int, stop: Callable[[], bool], dropped: set[str]
) -> Iterator[_Ended]:
    """Submit only as many searches at a time as there are workers, so that a stop request takes effect soon."""
    waiting = list(tasks)
    running: set[Future[_Ended]] = set()
    others = set(multiprocessing.active_children())
    with _one_thread_each():
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_leave_signals)
        try:
            while waiting or running:
                while waiting and len(running) < workers and not stop():
                    if (task := waiting.pop(0)).entry.label not in dropped:
                        running.add(pool.submit(_attempt, task))
                if not running:
                    break
                ended, running = wait(running, _STOP_CHECK_S, FIRST_COMPLETED)
                for future in ended:
                    yield future.result()
        except BrokenProcessPool as error:
            raise ArchsmithError(
                "a worker process died, perhaps out of memory; finished searches are stored: give the same command "
                "again, with fewer workers if it happens again"
            ) from error
        finally:
            if running:  # stopped at once, or failed: end the searches in progress
                for child in set(multiprocessing.active_children()) - others:
                    child.terminate()
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started in this block use one thread for arithmetic, in all libraries."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _leave_signals() -> None:
    """Ignore Ctrl-C: the process that started this one handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
