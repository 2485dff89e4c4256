"""What a long job tells while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


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


def never() -> bool:
    """A search that nobody stops."""
    return False
