"""Where the command line writes: results to standard output, all else to standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column

from archsmith.api.progress import Listener, Progress

# Without emoji: `name:cat:` is a name, and rich would load its table of them while it prints, where Ctrl-C hurts.
results = Console(width=None if sys.stdout.isatty() else 200, emoji=False)  # a pipe has no edge to cut at
errors = Console(stderr=True, emoji=False)

_QUIET_S = 10
"""Seconds between two lines of one stage where the output is no terminal."""


def print_json(data: Any) -> None:
    """Plain data for scripts, on standard output."""
    sys.stdout.write(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    sys.stdout.flush()


@contextmanager
def progress(*, wanted: bool = True) -> Iterator[Listener]:
    """A listener that draws what it hears: bars on a terminal, now and then a line elsewhere."""
    if not wanted:
        yield lambda _: None
    elif errors.is_terminal:
        with _bars() as bars:
            yield _Drawn(bars)
    else:
        yield _Lines()


def seconds(value: float | None) -> str:
    """A duration such as ``1:05`` or ``12 s``."""
    if value is None:
        return ""
    whole = round(value)
    return f"{whole} s" if whole < 100 else f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}".removeprefix("0:")


def far(event: Progress) -> str:
    """How far a stage is: ``7/20``, or ``98 s/1:30:00`` where it has a budget of time."""
    if event.timed:
        return f"{seconds(event.done)}/{seconds(event.total)}"
    return f"{event.done:.0f}/{'?' if event.total is None else f'{event.total:.0f}'}"


def _bars() -> Bars:
    def fixed(width: int) -> Column:
        return Column(no_wrap=True, min_width=width)

    return Bars(
        TextColumn("{task.fields[stage]}", style="bold", markup=False, table_column=fixed(8)),
        BarColumn(bar_width=16, table_column=fixed(16)),
        TextColumn("{task.fields[far]}", markup=False, table_column=fixed(9)),
        TextColumn("{task.fields[left]}", markup=False, table_column=fixed(10)),
        TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        console=errors,
        expand=True,
    )


class _Drawn:
    """One bar a stage; a stage that has ended stays, full."""

    def __init__(self, bars: Bars) -> None:
        self._bars, self._tasks = bars, dict[str, TaskID]()

    def __call__(self, event: Progress) -> None:
        left = f"{seconds(event.remaining_s)} left" if event.remaining_s else ""
        if event.stage not in self._tasks:
            self._tasks[event.stage] = self._bars.add_task("", total=None, stage=event.stage, left="", far="")
        task = self._tasks[event.stage]
        done = round(event.done)
        self._bars.update(task, completed=done, total=event.total, description=event.text, left=left, far=far(event))


class _Lines:
    """A line when a stage begins and ends, and one every few seconds between."""

    def __init__(self) -> None:
        self._stage, self._said, self._last = "", "", 0.0

    def __call__(self, event: Progress) -> None:
        now = time.monotonic()
        ended = event.total is not None and event.done >= event.total
        news = event.total is None and event.text != self._said  # a message, not a step
        if event.stage == self._stage and not (ended or news) and now - self._last < _QUIET_S:
            return
        self._stage, self._said, self._last = event.stage, event.text, now
        done = f" {far(event)}" if event.total else ""
        left = f", {seconds(event.remaining_s)} left" if event.remaining_s else ""
        errors.print(f"{event.stage}{done}{left}  {event.text}".rstrip(), markup=False, highlight=False, soft_wrap=True)
