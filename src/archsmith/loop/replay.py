"""A search put back to where its journal ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from archsmith.architecture import Proposal
from archsmith.errors import InvalidArchitecture
from archsmith.evaluation import Evaluation
from archsmith.events import Diverged, Event, Replaying
from archsmith.method import blaming
from archsmith.store.journal import Journal, Line
from archsmith.store.search_state import SearchState
from archsmith.strategy.base import Recalling, Strategy, proposals

SILENT_S = 1.0
"""A replay says how far it is so often; a shorter one says nothing."""


class Stopped(Exception):
    """The replay was stopped; nothing was written."""


@dataclass
class Replay:
    """Reads a journal once, from its first line.

    Args:
        journal: of the run.
        make: builds the strategy, always the same.
        emit: hears how far it is, and whether the strategy asks otherwise than it did.
        stop: asked between lines.
        clock: in seconds.
    """

    journal: Journal
    make: Callable[[], Strategy]
    emit: Callable[[Event], None]
    stop: Callable[[], bool]
    clock: Callable[[], float] = time.monotonic
    progress: SearchState = field(default_factory=SearchState)

    def run(self) -> Strategy:
        """A strategy that has seen what the journal holds.

        Raises:
            Stopped: when ``stop`` said so.
        """
        self._said, lines = self.clock(), self.journal.lines
        start = 1 + max((line.number for line in lines if line.kind == "restart"), default=-1)
        for line in lines[:start]:
            self.progress.read(line)
        strategy = self._fresh()
        last = self._last_asked(strategy, lines[start:])
        diverged = ""
        for line in lines[start:]:
            self._between(line.number, len(lines))
            if line.kind == "ask" and not diverged:
                diverged = self._put_back(strategy, line, recalled=line.number < last)
            results = self.progress.read(line)
            if results and not diverged:
                tell(strategy, results)
        if not diverged:
            return strategy
        self.progress.read(self.journal.restart(diverged))
        self.emit(Diverged(diverged))
        return self._fresh()

    def _fresh(self) -> Strategy:
        strategy = self.make()
        if self.progress.told:
            tell(strategy, self.progress.told)
        return strategy

    def _between(self, done: int, total: int) -> None:
        if self.stop():
            raise Stopped
        if (now := self.clock()) - self._said >= SILENT_S:
            self._said = now
            self.emit(Replaying(done, total))

    def _last_asked(self, strategy: Strategy, lines: Sequence[Line]) -> int:
        """The line before which results are recalled; -1 where all are asked again, as in journals of old."""
        asked = [line for line in lines if line.kind == "ask"]
        known = isinstance(strategy, Recalling) and all(_stands(strategy.generator, x.generator) for x in asked)
        return asked[-1].number if asked and known else -1

    def _put_back(self, strategy: Strategy, line: Line, *, recalled: bool) -> str:
        """Have the strategy be where the result of a line left it; returns how it differs from what it was."""
        if not recalled or not isinstance(strategy, Recalling):
            return _divergence(ask(strategy, line.n), line)
        try:
            with blaming(type(strategy)):
                strategy.recall(line.n, line.proposals)
        except InvalidArchitecture as error:
            return f"the strategy cannot have proposed what line {line.number} says ({error})"
        strategy.generator.bit_generator.state = dict(line.generator or {})
        return ""


def ask(strategy: Strategy, n: int) -> list[Proposal]:
    """What the strategy proposes; what is wrong with one of the user's own is told as theirs."""
    with blaming(type(strategy)):
        return proposals(strategy.ask(n), of=strategy)


def tell(strategy: Strategy, evaluations: Sequence[Evaluation]) -> None:
    """Tell it; what is wrong with one of the user's own is told as theirs."""
    with blaming(type(strategy)):
        strategy.tell(evaluations)


def position(strategy: Strategy) -> dict[str, Any] | None:
    """Where the generator of a strategy stands, as plain data, if it can be put back there."""
    if not isinstance(strategy, Recalling):
        return None
    state = dict(strategy.generator.bit_generator.state)
    return state if _is_plain(state) else None


def _is_plain(data: Any) -> bool:
    """Whether it is of numbers and text, as with NumPy's default generator; others keep arrays."""
    if isinstance(data, Mapping):
        return all(map(_is_plain, data.values()))
    return isinstance(data, int | float | str)


def _stands(generator: np.random.Generator, state: Mapping[str, Any] | None) -> bool:
    """Whether a generator of this kind can stand there."""
    if state is None:
        return False
    try:
        type(generator.bit_generator)(0).state = dict(state)
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    return True


def _divergence(asked: Sequence[Proposal], line: Line) -> str:
    """How what a strategy asks differs from what a line of the journal says; empty where it does not."""
    now, then = ([json.dumps(p.to_json(), sort_keys=True) for p in proposals] for proposals in (asked, line.proposals))
    if now == then:
        return ""
    texts = (", ".join(str(p.architecture) for p in proposals) or "nothing" for proposals in (asked, line.proposals))
    return "the strategy, asked again (line {}), proposes {} where it proposed {}".format(line.number, *texts)
