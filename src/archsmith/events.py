"""The input and output of a search: its budget, its events and its outcome."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from archsmith.errors import InvalidOption
from archsmith.evaluation import Evaluation

KNOWN_ASKS, KNOWN_PROPOSALS = 50, 1000
"""A search ends after so many asks, or proposals, in a row whose results were all known already."""

Reason = Literal["budget", "finished", "known", "interrupted"]

MESSAGES: Mapping[Reason, str] = {
    "budget": "the budget is spent",
    "finished": "the strategy has nothing left to propose",
    "known": f"{KNOWN_ASKS} asks in a row, or {KNOWN_PROPOSALS} proposals, brought no new evaluation",
    "interrupted": "interrupted; the same command goes on from here",
}


@dataclass(frozen=True)
class Budget:
    """How long a search goes on: new evaluations or seconds of work, both counted over all resumes.

    >>> Budget.parse("200"), Budget.parse("1h30m")
    (Budget(evaluations=200, seconds=None), Budget(evaluations=None, seconds=5400.0))
    """

    evaluations: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.seconds:g} s" if self.evaluations is None else f"{self.evaluations} evaluations"

    @classmethod
    def parse(cls, text: str | int) -> Budget:
        """Read a number of evaluations (``200``) or a time (``30m``, ``1h30m``, ``90s``).

        Raises:
            InvalidOption: for anything else, and for empty text or zero.
        """
        plain = str(text).strip()
        match = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?", plain, re.ASCII)
        try:
            if plain.isdecimal():
                budget = cls(evaluations=int(plain))
            elif match and plain:
                budget = cls(
                    seconds=sum(float(part) * unit for part, unit in zip(match.groups("0"), (3600, 60, 1), strict=True))
                )
            else:
                raise ValueError
            if not (budget.evaluations or budget.seconds):
                raise ValueError
        except ValueError:
            raise InvalidOption(
                f"cannot read the budget {text!r}; give a number of evaluations from 1, such as 200, "
                "or a time such as 30m, 1h30m or 90s"
            ) from None
        return budget


@dataclass(frozen=True)
class Started:
    """A new run begins."""


@dataclass(frozen=True)
class Resumed:
    """A run goes on: ``evaluations`` are stored already, ``waiting`` proposals still lack a result."""

    evaluations: int
    waiting: int


@dataclass(frozen=True)
class Replaying:
    """A run's state is restored: ``done`` of ``total`` lines of its journal are read."""

    done: int
    total: int


@dataclass(frozen=True)
class Noted:
    """Circumstances changed since the run was last written, such as ``numpy: 2.0 -> 2.1``."""

    changes: tuple[str, ...]


@dataclass(frozen=True)
class Diverged:
    """The strategy no longer makes the proposals in the journal; a fresh one was told all results and goes on."""

    reason: str


@dataclass(frozen=True)
class Evaluated:
    """One result: ``done`` new evaluations ``of`` the budget, after ``seconds`` of work ``of_seconds``."""

    evaluation: Evaluation
    known: bool
    done: int
    of: int | None
    seconds: float
    of_seconds: float | None


@dataclass(frozen=True)
class Finished:
    """The search ends."""

    reason: Reason
    message: str


Event = Started | Replaying | Resumed | Noted | Diverged | Evaluated | Finished


@dataclass(frozen=True)
class Outcome:
    """The outcome of a search.

    Args:
        evaluations: of this run, each once, in the order of commits.
        reason: why it ended.
        new: how many evaluations it added to the store, over all resumes.
        known: how many results were in the store already.
        resumed: whether it went on from an earlier process.
    """

    evaluations: tuple[Evaluation, ...]
    reason: Reason
    new: int
    known: int
    resumed: bool

    @property
    def message(self) -> str:
        """The reason as a sentence."""
        return MESSAGES[self.reason]
