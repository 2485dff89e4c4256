"""A small evolution on a grid whose every question depends on everything it was told, for tests of the loop."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from archsmith import loop
from archsmith.architecture import Architecture, Proposal
from archsmith.evaluation import Evaluation
from archsmith.method import OURS
from archsmith.metric import Limit, Objective
from archsmith.space.base import Space
from archsmith.store import Store
from archsmith.strategy.base import Handles, Strategy
from archsmith.value import Value

SIDE = 40
HEADER: dict[str, Any] = {"strategy": "scripted", "seed": 7, "options": {"side": SIDE}, "limits": [], "space": "grid"}
OBJECTIVES = (Objective("cost", "min"), Objective("size", "min"))
FIRST = ((0, 0), (SIDE - 1, SIDE - 1))
PAUSE_S = 0.004


def question(x: int, y: int = 0, **extras: object) -> Proposal:
    """The point ``x, y`` of the grid."""
    return Proposal(Architecture("grid", (("x", int(x)), ("y", int(y)))), extras=extras)


def point(thing: Proposal | Evaluation) -> tuple[int, int]:
    """The inverse of :func:`question`."""
    x, y = thing.architecture["x"], thing.architecture["y"]
    assert isinstance(x, int)
    assert isinstance(y, int)
    return x, y


def evaluate(proposal: Proposal, *, evaluator: str = "toy", seed: int = 0) -> Evaluation:
    """Two conflicting costs; one point of the grid always fails."""
    x, y = point(proposal)
    if x == y == 3:
        raise RuntimeError("three is broken")
    cost = (x - 11) ** 2 / 7 + (y - 5) ** 2 / 3
    values = {"cost": Value(cost, "computed", cost - 0.1, cost + 0.1), "size": Value((x + y) * 1.1, "computed")}
    return Evaluation(
        proposal=proposal, values=values, evaluator=evaluator, seed=seed, environment={"shape": (1, 2)}, cost={"s": 0.1}
    )


@final
class Scripted(Strategy):
    """Draws at random, then moves from the best it was told; reads values, extras and the order of calls."""

    paper = OURS
    handles = Handles()

    def __init__(
        self,
        space: Space | None = None,  # noqa: ARG002 - the grid is the space
        objectives: Sequence[Objective] = (),  # noqa: ARG002
        limits: Sequence[Limit] = (),  # noqa: ARG002
        *,
        rng: np.random.Generator,
        side: int = SIDE,
        draws: float = 0.3,
    ) -> None:
        self.rng, self.side, self.draws = rng, side, draws
        self.told: list[Evaluation] = []
        self.calls = 0

    def ask(self, n: int) -> list[Proposal]:
        """Exactly ``n``, now and then one twice."""
        self.calls += 1
        return [self._one(i) for i in range(n)]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Keep all of them."""
        self.told += evaluations

    def _one(self, i: int) -> Proposal:
        ok = [e for e in self.told if e.ok]
        if len(ok) < 5 or self.rng.random() < self.draws:
            x, y = self.rng.integers(0, self.side, 2)
            return question(x, y, call=self.calls, i=i)
        best = min(ok, key=lambda e: e["cost"] + e["size"] + 0.01 * e.proposal.extras.get("call", 0))
        x, y = np.clip(np.array(point(best)) + self.rng.integers(-3, 4, 2), 0, self.side - 1)
        child = question(x, y, call=self.calls, i=i)
        return Proposal(child.architecture, parent=best.architecture.key, extras=child.extras)


def make(*, side: int = SIDE, draws: float = 0.3) -> Scripted:
    """Always the same strategy."""
    return Scripted(rng=np.random.default_rng(7), side=side, draws=draws)


def main(
    where: str, side_file: str, budget: int, batch: int, exit_at: int, pause: Callable[[float], None] = time.sleep
) -> loop.Outcome:
    """Search with it, as a process that a test may kill.

    Args:
        where: the store.
        side_file: each answer that was told is appended to it, safely on disk.
        budget: in evaluations.
        batch: of every ask.
        exit_at: die inside the evaluation of this number, without a chance to tidy up; never if negative.
        pause: makes evaluations take their time.
    """
    calls = 0

    def slow(proposal: Proposal) -> Evaluation:
        nonlocal calls
        calls += 1
        if calls - 1 == exit_at:
            os._exit(9)
        pause(PAUSE_S)
        return evaluate(proposal)

    with Path(side_file).open("a", encoding="utf-8") as file, Store.open(where) as store:

        def note(event: loop.Event) -> None:
            if isinstance(event, loop.Evaluated):
                file.write(json.dumps([*point(event.evaluation), event.known]) + "\n")
                file.flush()
                os.fsync(file.fileno())

        return loop.search(
            make,
            slow,
            store.journal("search"),
            header=HEADER,
            limits=(),
            budget=loop.Budget(evaluations=budget),
            evaluator="toy",
            batch=batch,
            first=[question(x, y) for x, y in FIRST],
            on_event=note,
        )
