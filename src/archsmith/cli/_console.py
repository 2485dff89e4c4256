"""Output of the command line: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.segment import Segment
from rich.table import Column
from rich.text import Span, Text

from archsmith.progress import Listener, Progress
from archsmith.texts import UNPRINTABLE, escaped


class _Escaping(Console):
    """A console that escapes control characters in texts of runs, agents and files: see :func:`escaped`.

    Texts are not parsed as markup either, unless the call says ``markup=True``.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        # Without emoji: `name:cat:` is a name. Also rich would import its table of emoji while it prints, which Ctrl-C
        # may interrupt.
        super().__init__(stderr=stderr, width=width, emoji=False, markup=False)

    def render_str(self, text: str, **how: Any) -> Text:
        """Render as rich does, but escape the text before its width is measured."""
        return super().render_str(escaped(text), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, but escape everything except rich's own control codes."""
        if isinstance(renderable, Text):
            renderable = _styled_escaped(renderable)
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escaped(segment.text), segment.style)


def _styled_escaped(text: Text) -> Text:
    """The escaped text with its styles; ``text`` itself where nothing needs escaping."""
    found = {at for match in UNPRINTABLE.finditer(text.plain) for at in match.span()}
    if not found:
        return text
    clean = text.blank_copy()
    for part in text.divide(sorted(found - {0, len(text)})):
        shown = escaped(part.plain)  # escaping changes only parts of a single character, which have one style
        spans = part.spans if shown == part.plain else [Span(0, len(shown), span.style) for span in part.spans]
        clean.append_text(Text(shown, spans=spans))
    return clean


results = _Escaping(width=None if sys.stdout.isatty() else 200)  # a pipe has no edge to cut at
errors = _Escaping(stderr=True)

_LINE_EVERY_S = 10
"""Seconds between two lines of one stage where the output is no terminal."""


def print_json(data: Any) -> None:
    """Print plain data for scripts on standard output."""
    text = json.dumps(data, indent=1, ensure_ascii=False)
    sys.stdout.write(UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], text) + "\n")
    sys.stdout.flush()


def print_message(message: object, *, end: str = "\n") -> None:
    """Print plain text on standard error, without wrapping."""
    errors.print(str(message), end=end, highlight=False, soft_wrap=True)


@contextmanager
def guarded() -> Iterator[None]:
    """Print warnings, log records without a handler, and errors in threads on the escaping console."""
    handler, before, hook = _ConsoleHandler(logging.WARNING), logging.lastResort, threading.excepthook
    logging.lastResort, threading.excepthook = handler, _failed
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            yield
    finally:
        logging.lastResort, threading.excepthook = before, hook


def _failed(found: threading.ExceptHookArgs) -> None:
    """Replaces :func:`threading.excepthook`."""
    print_message("".join(traceback.format_exception(found.exc_type, found.exc_value, found.exc_traceback)), end="")


class _ConsoleHandler(logging.StreamHandler[Any]):
    """Logging's handler of last resort, on the escaping console."""

    def __init__(self, level: int) -> None:
        super().__init__(sys.stderr)
        self.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        print_message(self.format(record))


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """Replaces :func:`warnings.showwarning`."""
    del file
    print_message(warnings.formatwarning(message, category, filename, lineno, line), end="")


@contextmanager
def progress(*, wanted: bool = True) -> Iterator[Listener]:
    """A listener that shows progress: as bars on a terminal, as lines elsewhere."""
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
    """The progress of a stage as text: ``7/20``, or ``98 s/1:30:00`` under a budget of time."""
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
    """Shows one bar a stage; the full bars of ended stages stay."""

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
    """Prints a line when a stage begins and ends, and every ten seconds between."""

    def __init__(self) -> None:
        self._stage, self._text, self._last = "", "", 0.0

    def __call__(self, event: Progress) -> None:
        now = time.monotonic()
        ended = event.total is not None and event.done >= event.total
        message = event.total is None and event.text != self._text
        if event.stage == self._stage and not (ended or message) and now - self._last < _LINE_EVERY_S:
            return
        self._stage, self._text, self._last = event.stage, event.text, now
        done = f" {far(event)}" if event.total else ""
        left = f", {seconds(event.remaining_s)} left" if event.remaining_s else ""
        print_message(f"{event.stage}{done}{left}  {event.text}".rstrip())
