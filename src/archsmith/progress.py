"""What a long job tells while it works, and how it is asked to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Progress:
    """One step of one stage.

    Args:
        stage: what is being done, such as ``"train"`` or ``"search"``.
        text: one line for a person.
        done: how far, in the stage's own unit.
        total: how far it goes; ``None`` where nobody knows.
        remaining_s: estimate of what is left of this stage, in seconds; ``None`` where there is none yet.
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
    """A listener that does not listen."""
    del progress


def unkept(note: str) -> None:
    """Notes that nobody keeps."""
    del note


def never() -> bool:
    """A search that nobody stops."""
    return False


@dataclass(frozen=True)
class Reporter:
    """Progress, notes and stop requests of one job: handed down to all that works for it.

    Args:
        on_progress: gets every step.
        on_note: gets what a reader of the results must know, a sentence each.
        stop: whether somebody asked to stop.
        stage: of the steps that are reported.
    """

    on_progress: Listener = nobody
    on_note: Callable[[str], None] = unkept
    stop: Stop = never
    stage: str = ""

    def at(self, stage: str) -> Reporter:
        """The same, at another stage."""
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
"""Reports to nobody."""
