"""Replay: restores a search to the end of its journal."""

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

REPORT_EVERY_S = 1.0
"""Seconds between two progress events of a replay; a shorter replay emits none."""


class Stopped(Exception):
    """The replay was stopped; nothing was written."""


@dataclass
class Replay:
    """Reads a journal once, from its first line.

    Args:
        journal: of the run.
        make: builds the strategy, always the same.
        emit: called with progress, and if the strategy proposes differently than before.
        stop: called between lines; true stops the replay.
        clock: returns seconds.
    """

    journal: Journal
    make: Callable[[], Strategy]
    emit: Callable[[Event], None]
    stop: Callable[[], bool]
    clock: Callable[[], float] = time.monotonic
    progress: SearchState = field(default_factory=SearchState)

    def run(self) -> Strategy:
        """A strategy that was told everything in the journal.

        Raises:
            Stopped: when ``stop`` returned true.
        """
        self._reported, lines = self.clock(), self.journal.lines
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
        if (now := self.clock()) - self._reported >= REPORT_EVERY_S:
            self._reported = now
            self.emit(Replaying(done, total))

    def _last_asked(self, strategy: Strategy, lines: Sequence[Line]) -> int:
        """The line before which proposals are recalled; -1 where the strategy must propose all of them again.

        Journals of older versions have no generator states and are of the second kind.
        """
        asked = [line for line in lines if line.kind == "ask"]
        known = isinstance(strategy, Recalling) and all(_stands(strategy.generator, x.generator) for x in asked)
        return asked[-1].number if asked and known else -1

    def _put_back(self, strategy: Strategy, line: Line, *, recalled: bool) -> str:
        """Bring the strategy to its state after an ask; returns how its proposals differ, empty if they do not."""
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
    """The strategy's proposals; errors in a user's own strategy name it."""
    with blaming(type(strategy)):
        return proposals(strategy.ask(n), of=strategy)


def tell(strategy: Strategy, evaluations: Sequence[Evaluation]) -> None:
    """Tell the strategy results; errors in a user's own strategy name it."""
    with blaming(type(strategy)):
        strategy.tell(evaluations)


def position(strategy: Strategy) -> dict[str, Any] | None:
    """The state of a strategy's generator as plain data; ``None`` if it cannot be restored."""
    if not isinstance(strategy, Recalling):
        return None
    state = dict(strategy.generator.bit_generator.state)
    return state if _is_plain(state) else None


def _is_plain(data: Any) -> bool:
    """Whether a state holds only numbers and text, as that of NumPy's default generator; others hold arrays."""
    if isinstance(data, Mapping):
        return all(map(_is_plain, data.values()))
    return isinstance(data, int | float | str)


def _stands(generator: np.random.Generator, state: Mapping[str, Any] | None) -> bool:
    """Whether a generator of this kind can be set to ``state``."""
    if state is None:
        return False
    try:
        type(generator.bit_generator)(0).state = dict(state)
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    return True


def _divergence(asked: Sequence[Proposal], line: Line) -> str:
    """How a strategy's proposals differ from those in a line of the journal; empty where they do not."""
    now, then = ([json.dumps(p.to_json(), sort_keys=True) for p in proposals] for proposals in (asked, line.proposals))
    if now == then:
        return ""
    texts = (", ".join(str(p.architecture) for p in proposals) or "nothing" for proposals in (asked, line.proposals))
    return "the strategy, asked again (line {}), proposes {} where it proposed {}".format(line.number, *texts)
