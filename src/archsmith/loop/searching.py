"""The search loop, which can be killed at any time and resumed.

Only the journal is durable. The state of a search is computed from its lines, in order. A line is first committed,
then read, so that a resumed search has seen exactly what an uninterrupted one saw.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from archsmith.architecture import Proposal
from archsmith.changes import differences
from archsmith.engine.base import Engine, Evaluate
from archsmith.engine.in_process import InProcess
from archsmith.errors import Infeasible, InvalidOption, RunMismatch
from archsmith.evaluation import Evaluation, failed
from archsmith.events import (
    KNOWN_ASKS,
    KNOWN_PROPOSALS,
    MESSAGES,
    Budget,
    Evaluated,
    Event,
    Finished,
    Noted,
    Outcome,
    Reason,
    Resumed,
    Started,
)
from archsmith.feasibility import nothing_meets
from archsmith.loop.replay import Replay, Stopped, ask, position, tell
from archsmith.metric import Limit
from archsmith.store.journal import Journal
from archsmith.store.search_state import SearchState, proposal_identity
from archsmith.strategy.base import Strategy


def search(  # noqa: PLR0913 - the only place that needs everything about a run
    make_strategy: Callable[[], Strategy],
    evaluate: Evaluate,
    journal: Journal,
    *,
    header: Mapping[str, Any],
    limits: Sequence[Limit],
    budget: Budget,
    evaluator: str,
    seed: int = 0,
    batch: int = 1,
    first: Sequence[Proposal] = (),
    noted: Mapping[str, Any] | None = None,
    patience: int = 20,
    engine: Engine | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Search until the budget is spent, from where the journal ends.

    Args:
        make_strategy: builds the strategy, always the same.
        evaluate: evaluates a proposal; what it raises becomes a failed evaluation.
        journal: of this run; locked here.
        header: plain data that must be equal on resume: strategy, options, seed, objectives, limits, space, data ...
        limits: absolute bounds; a search that cannot meet them ends early.
        budget: of new evaluations, failed ones included, or of time in which the search runs.
        evaluator: its fingerprint.
        seed: of the evaluations.
        batch: how many proposals to ask for at once.
        first: proposals to evaluate before the strategy is asked; it is told their results, and they count.
        noted: plain data that may change on resume, which is only an event: versions, host.
        patience: number of evaluations after which each limit must have been met by one of them.
        engine: where evaluations run; in this process unless given.
        on_event: called with every event.
        stop: called between evaluations, and between lines of the journal in a replay; true ends the search.
        clock: returns seconds.

    Raises:
        RunLocked: when another process writes this run.
        RunMismatch: when the run was begun with another header; every differing field is named.
        Infeasible: when nothing meets a limit; everything measured stays in the store.
        StorageFull: when the disk is full.
    """
    _check_options(limits, batch=batch, patience=patience)
    with journal.locked():
        resumed = _open(journal, header, noted or {}, on_event)
        replay = Replay(journal, make_strategy, on_event, stop, clock)
        try:
            strategy = replay.run()
        except Stopped:
            on_event(Finished("interrupted", MESSAGES["interrupted"]))
            return _outcome_so_far(journal)
        progress = replay.progress
        if resumed:
            on_event(Resumed(len(progress.evaluations), len(progress.waiting)))
        run = _Search(
            strategy=strategy,
            evaluate=_Recorded(evaluate, evaluator, seed),
            journal=journal,
            progress=progress,
            limits=limits,
            budget=budget,
            batch=batch,
            patience=max(patience, len(first)),
            engine=engine or InProcess(),
            emit=on_event,
            stop=stop,
            clock=clock,
        )
        run.give(first)
        reason = run.go()
    on_event(Finished(reason, MESSAGES[reason]))
    return Outcome(tuple(progress.evaluations.values()), reason, progress.new, progress.known, resumed)


@dataclass(frozen=True)
class _Recorded:
    """Wraps ``evaluate``: what it raises becomes a failed evaluation."""

    evaluate: Evaluate
    evaluator: str
    seed: int

    def __call__(self, proposal: Proposal) -> Evaluation:
        try:
            evaluation = self.evaluate(proposal)
        except Exception as error:  # noqa: BLE001 - whatever a user's code raises is a finding about this proposal
            return failed(proposal, error, evaluator=self.evaluator, seed=self.seed)
        if evaluation.identity != self.identity(proposal):
            raise InvalidOption(
                f"evaluate was given {self.identity(proposal)} (space, key, evaluator, fidelity, seed) and returned an "
                f"evaluation of {evaluation.identity}; it must evaluate the proposal that it was given"
            )
        return evaluation

    def identity(self, proposal: Proposal) -> tuple[str, str, str, str, int]:
        a = proposal.architecture
        return (a.space, a.key, self.evaluator, proposal.fidelity_key, self.seed)


@dataclass
class _Search:
    """A search in progress."""

    strategy: Strategy
    evaluate: _Recorded
    journal: Journal
    progress: SearchState
    limits: Sequence[Limit]
    budget: Budget
    batch: int
    patience: int
    engine: Engine
    emit: Callable[[Event], None]
    stop: Callable[[], bool]
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        self.since = self.clock()

    def go(self) -> Reason:
        """Ask, evaluate and tell until the search ends; returns why."""
        while not (reason := self.ended()):
            if not self.progress.waiting:
                self.ask()
            self.tell(self.known())
            with closing(self.engine.run(self.evaluate, self.unknown())) as finished:
                for evaluation in finished:
                    self.tell([evaluation] * self.asked(evaluation))
                    if self.ended():
                        break
        return reason

    def ended(self) -> Reason | None:
        """Why the search ends now; ``None`` if it goes on.

        Raises:
            Infeasible: when nothing meets a limit.
        """
        progress, left = self.progress, self.left()
        if len(progress.evaluations) >= min(self.patience, self.budget.evaluations or self.patience):
            _check_feasible(list(progress.evaluations.values()), self.limits)
        if left <= 0 or (self.budget.seconds is not None and self.spent() >= self.budget.seconds):
            return "budget"
        if not progress.waiting and progress.finished:
            return "finished"
        if not progress.waiting and (progress.known_asks >= KNOWN_ASKS or progress.known_proposals >= KNOWN_PROPOSALS):
            return "known"
        return "interrupted" if self.stop() else None

    def left(self) -> float:
        """New evaluations that the budget still allows."""
        return math.inf if self.budget.evaluations is None else self.budget.evaluations - self.progress.new

    def spent(self) -> float:
        """Seconds of work over all resumes."""
        return self.progress.seconds + self.clock() - self.since

    def give(self, first: Sequence[Proposal]) -> None:
        """Add the caller's proposals before those of the strategy."""
        given = [proposal_identity(p) for p in self.progress.given]
        if missing := [p for p in first if proposal_identity(p) not in given]:
            self.progress.read(self.journal.give(missing, seconds=self.lap()))

    def ask(self) -> None:
        """Ask the strategy for proposals, and record them."""
        n = int(min(self.batch, self.left()))
        asked = ask(self.strategy, n)
        line = self.journal.ask(n, asked, generator=position(self.strategy), seconds=self.lap())
        self.progress.read(line)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Commit evaluations, then tell the strategy."""
        if not evaluations:
            return
        line = self.journal.tell(evaluations, seconds=self.lap())
        results = self.progress.read(line)
        tell(self.strategy, results)
        for i, result in enumerate(results):
            done, spent = self.progress.new, self.progress.seconds
            event = Evaluated(result, i >= line.new, done, self.budget.evaluations, spent, self.budget.seconds)
            self.emit(event)

    def known(self) -> list[Evaluation]:
        """Results that the store has for waiting proposals."""
        identities = [self.evaluate.identity(p) for p in self.progress.waiting]
        found = self.journal.known(identities)
        return [found[i] for i in identities if i in found]

    def unknown(self) -> list[Proposal]:
        """Waiting proposals, each once."""
        found: dict[Any, Proposal] = {}
        for proposal in self.progress.waiting:
            found.setdefault(proposal_identity(proposal), proposal)
        return list(found.values())

    def asked(self, evaluation: Evaluation) -> int:
        """How many waiting proposals this evaluation is the result of."""
        return sum(proposal_identity(p) == proposal_identity(evaluation.proposal) for p in self.progress.waiting)

    def lap(self) -> float:
        """Seconds since the last lap."""
        last, self.since = self.since, self.clock()
        return self.since - last


def _outcome_so_far(journal: Journal) -> Outcome:
    """The outcome in the journal, for a run that was stopped in its replay."""
    progress = SearchState()
    for line in journal.lines:
        progress.read(line)
    return Outcome(tuple(progress.evaluations.values()), "interrupted", progress.new, progress.known, resumed=True)


def _check_options(limits: Sequence[Limit], *, batch: int, patience: int) -> None:
    if relative := [str(limit) for limit in limits if limit.relative]:
        raise InvalidOption(f"limits must be absolute here, got {', '.join(relative)}; resolve them first")
    if batch < 1 or patience < 1:
        raise InvalidOption(f"batch and patience are at least 1, got batch={batch} and patience={patience}")


def _open(journal: Journal, header: Mapping[str, Any], noted: Mapping[str, Any], emit: Callable[[Event], None]) -> bool:
    """Begin the run, or check that its header is equal; returns whether it had begun before."""
    before = journal.header
    if before is None:
        journal.begin(header, noted)
        emit(Started())
        return False
    if changes := differences(before, header):
        changes = differences(_as_written(before), _as_written(header)) or changes
        raise RunMismatch(
            f"{journal.label} was begun with other settings (then -> now): {'; '.join(changes)}. Give the original "
            "settings to go on with it, or choose another run to start anew"
        )
    if changes := differences(journal.noted, noted):
        journal.note(noted)
        emit(Noted(tuple(changes)))
    return True


def _as_written(header: Mapping[str, Any]) -> dict[str, Any]:
    """A header for messages, with its limits as the user wrote them instead of the absolute ones."""
    shown = dict(header)
    if "limits" in shown:
        try:
            shown["limits"] = [str(Limit(**x)) if isinstance(x, Mapping) else x for x in shown["limits"]]
        except (TypeError, ValueError):
            return shown  # not a header of archsmith's: shown as it is
    if "limits_as_written" in shown:
        shown["limits"] = shown.pop("limits_as_written")
    return shown


def _check_feasible(evaluations: Sequence[Evaluation], limits: Sequence[Limit]) -> None:
    for limit in limits:
        if not any(e.ok and limit.violation(e) == 0 for e in evaluations):
            raise Infeasible(
                f"{nothing_meets(limit, evaluations, among=f'{len(evaluations)} evaluations')}; loosen the limit, or "
                "search a space with other networks. Everything measured is kept"
            )
