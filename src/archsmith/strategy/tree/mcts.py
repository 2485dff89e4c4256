"""Tree search over the choices of a space, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.policy import draw_weights, rewards
from archsmith.strategy.kit.variation import Floats, Rows

RESTARTS = 30
"""Walks that end where nothing new is left before a random new design is asked."""


class MonteCarloTreeSearch(Strategy):
    """Monte-Carlo tree search: upper confidence bounds walk down the choices in order, the rest is drawn at random.

    A node is a prefix: the options of the first choices. At each choice the option of highest mean reward plus
    ``exploration`` times ``sqrt(log(visits of the node) / visits of the option)`` is taken; the first option that has
    never been tried ends the walk, and the choices after it are drawn at random.

    Departures from Negrinho and Gordon 2017 (and UCT, Kocsis and Szepesvari 2006):

    * There is no tree to keep: visits and rewards of a node are counted over *everything* told with its prefix. So
      every step of an earlier design counts and not the walked ones only, known evaluations are a warm start, and
      results may come in any order; open designs count as visits of reward 0.
    * The reward is the rank among everything told, feasible designs first. With several objectives it is the rank of a
      random weighting of the objectives, drawn for each proposal and applied to the whole tree, so that successive
      walks head for different parts of the front.
    * No architecture is asked twice: prefixes below which ``rollouts`` draws found nothing new are closed. The modules
      of the paper's language are the choices and conditions of a ``ChoiceSpace``; inactive choices are no level of the
      tree.

    Args:
        space: a space of choices; their order is the order of the levels.
        objectives: any number.
        limits: feasible designs are better than all others.
        rng: the only source of randomness.
        exploration: weight of the confidence bound; 0 is greedy.
        rollouts: random completions that are drawn to find a new one.

    Raises:
        InvalidOption: for an option outside its range.
    """

    paper = Paper(
        authors="Negrinho, Renato and Gordon, Geoff",
        title="DeepArchitect: Automatically Designing and Training Deep Architectures",
        year=2017,
        arxiv="1704.08792",
    )
    handles: ClassVar[Handles] = Handles(rows=True)

    def __init__(
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        exploration: float = 0.05,
        rollouts: int = 32,
    ) -> None:
        self._exploration = number("exploration", exploration, most=10)
        self._rollouts = whole("rollouts", rollouts, least=1, most=10**4)
        self._history = RowHistory(space, objectives, limits)
        self._space = space
        self._rng = rng
        self._closed: set[bytes] = set()
        self._depths = np.cumprod(space.cardinalities[::-1].astype(float))[::-1]  # designs below each level, at most

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals, each from a walk of its own."""
        proposals: list[Proposal] = []
        while len(proposals) < n:
            row = self._walks()
            if not len(row):
                break
            proposals += self._history.propose(self._space.architectures(row))
        return proposals

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones have the lowest reward."""
        self._history.tell(evaluations)

    def _walks(self) -> Rows:
        """One new row, or none where the space is used up."""
        history = self._history
        weights = draw_weights(len(history.objectives), self._rng)
        reward = rewards(history.costs, history.violations, weights)
        rows = np.concatenate([history.rows, self._space.rows(list(history.open.values()))])
        reward = np.concatenate([reward, np.zeros(len(rows) - len(reward))])
        for _ in range(RESTARTS):
            row, level = self._walk(rows, reward)
            found = self._completed(row, level)
            if len(found):
                return found
            if not level:
                break
            self._closed.add(row[:level].tobytes())
        return history.fresh_rows(1, self._rng)

    def _walk(self, rows: Rows, reward: Floats) -> tuple[Rows, int]:
        """The options down to the first never tried, or to where all is known; and the length of that prefix."""
        row = np.zeros(len(self._space.choices), dtype=np.int16)
        members, walked = np.arange(len(rows)), 0
        for j, cardinality in enumerate(self._space.cardinalities):
            if not self._space.active(row[None])[0, j]:
                continue
            options = rows[members, j]
            visits = np.bincount(options, minlength=cardinality)
            usable = self._usable(row, j, visits)
            if not usable.any():
                break
            untried = np.flatnonzero(usable & (visits == 0))
            if len(untried):
                row[j] = self._rng.choice(untried)
                return row, j + 1
            gained = np.bincount(options, weights=reward[members], minlength=cardinality)
            with np.errstate(divide="ignore", invalid="ignore"):
                bound = gained / visits + self._exploration * np.sqrt(np.log(len(members)) / visits)
            bound[~usable] = -np.inf
            row[j] = self._rng.choice(np.flatnonzero(bound == bound.max()))
            members, walked = members[options == row[j]], j + 1
        return row, walked

    def _usable(self, row: Rows, level: int, visits: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which options of a choice may still have something new below them."""
        below = self._depths[level + 1] if level + 1 < len(row) else 1.0
        usable: NDArray[np.bool_] = visits < below
        if self._closed:
            start = row[:level].tobytes()
            usable &= [start + np.int16(k).tobytes() not in self._closed for k in range(len(visits))]
        return usable

    def _completed(self, row: Rows, level: int) -> Rows:
        """One new design that starts with the first ``level`` options of ``row``; none where none was found."""
        drawn = np.floor(self._rng.random((self._rollouts, len(row))) * self._space.cardinalities).astype(np.int16)
        drawn[:, :level] = row[:level]
        drawn = self._space.canonical_rows(drawn)
        drawn = drawn[self._space.valid(drawn)]
        return drawn[self._history.is_new(drawn)][:1]
