"""Progress of long jobs, and how they are asked to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Progress:
    """One step of one stage.

    Args:
        stage: what is being done, such as ``"train"`` or ``"search"``.
        text: one line for a person.
        done: how much of the stage is done, in its own unit.
        total: the value of ``done`` at the end; ``None`` where unknown.
        remaining_s: estimated seconds until the stage ends; ``None`` where there is no estimate yet.
        timed: whether ``done`` and ``total`` are seconds, as under a budget of time.
    """

    stage: str
    text: str = ""
    done: float = 0
    total: float | None = None
    remaining_s: float | None = None
    timed: bool = False


Listener = Callable[[Progress], None]
Stop = Callable[[], bool]


def nobody(progress: Progress) -> None:
    """Discard progress."""
    del progress


def unkept(note: str) -> None:
    """Discard a note."""
    del note


def never() -> bool:
    """Never ask to stop."""
    return False


@dataclass(frozen=True)
class Reporter:
    """Progress, notes and stop requests of one job; passed down to everything that works for it.

    Args:
        on_progress: called with every step.
        on_note: called with each sentence that a reader of the results must know.
        stop: whether somebody asked to stop.
        stage: name of the stage that is reported.
    """

    on_progress: Listener = nobody
    on_note: Callable[[str], None] = unkept
    stop: Stop = never
    stage: str = ""

    def at(self, stage: str) -> Reporter:
        """The same reporter for another stage."""
        return replace(self, stage=stage)

    def progress(
        self,
        text: str = "",
        done: float = 0,
        total: float | None = None,
        remaining_s: float | None = None,
        *,
        timed: bool = False,
    ) -> None:
        """Report a step of this stage; see :class:`Progress`."""
        self.on_progress(Progress(self.stage, text, done, total, remaining_s, timed))

    def note(self, text: str) -> None:
        """Report what a reader of the results must know."""
        self.on_note(text)


SILENT = Reporter()
"""Discards everything."""
