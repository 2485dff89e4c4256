"""The evolutionary search that most of the field compares with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Recalling
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import usable
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.variation import Rows, best_first, breed

TRIES = 20
"""Rounds of breeding, and then of mutation, before random designs fill up what is missing."""


class Nsga2(Recalling):
    """NSGA-II: non-dominated sorting, crowding, binary tournaments; feasibility before everything else.

    Departures from Deb et al. 2002:

    * Steady state instead of generations: each ask breeds from the best ``population`` of *everything* told so far, so
      that answers may come late, in any order and from elsewhere. With batches of ``population`` it is the paper's.
    * No architecture is asked twice: children that are known already are bred again, then become mutants of their
      parents, then random designs. A space that is used up ends the search.
    * Crossover and mutation are the space's own; the paper's simulated binary crossover is for real numbers.
    * Failed evaluations are never parents.

    Args:
        space: a space of choices.
        objectives: any number.
        limits: among architectures that break one, a smaller sum of relative violations is better.
        rng: the only source of randomness.
        population: how many random architectures come first, and how many may be parents.
        crossover: probability that a child has two parents.
        mutation: probability per choice; ``None`` for the space's own (one choice on average).

    Raises:
        InvalidOption: for an option outside its range.
    """

    paper = Paper(
        authors="Deb, Kalyanmoy and Pratap, Amrit and Agarwal, Sameer and Meyarivan, T.",
        title="A fast and elitist multiobjective genetic algorithm: NSGA-II",
        year=2002,
        venue="IEEE Transactions on Evolutionary Computation 6(2)",
        doi="10.1109/4235.996017",
    )
    handles: ClassVar[Handles] = Handles(rows=True)

    def __init__(
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        population: int = 20,
        crossover: float = 0.9,
        mutation: float | None = None,
    ) -> None:
        self._population = whole("population", population, least=2)
        self._crossover = number("crossover", crossover, most=1)
        self._mutation = None if mutation is None else number("mutation", mutation, most=1)
        self._history = RowHistory(space, objectives, limits)
        self._space = space
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random until ``population`` are known, then children."""
        if n <= 0:
            return []
        parents = self._parents()
        known = len(self._history.told) + len(self._history.open)
        first = n if not len(parents) else min(n, max(0, self._population - known))
        proposals = self._history.propose(self._history.fresh(first, self._rng)) if first else []
        if missing := n - len(proposals):
            proposals += self._children(parents, missing) if len(parents) else []
        if missing := n - len(proposals):
            proposals += self._history.propose(self._history.fresh(missing, self._rng))
        return proposals

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones only prevent a repetition."""
        self._history.tell(evaluations)

    @property
    def generator(self) -> np.random.Generator:
        """The only source of randomness."""
        return self._rng

    def recall(self, n: int, given: Sequence[Proposal]) -> None:
        """Take note of an answer."""
        del n
        self._history.recall(given)

    def _parents(self) -> Sequence[int]:
        history = self._history
        ok = usable(history)
        return [int(i) for i in ok[best_first(history.costs[ok], history.violations[ok], self._population)]]

    def _children(self, parents: Sequence[int], n: int) -> list[Proposal]:
        """Up to ``n`` new children, fewer where neither crossover nor mutation finds any."""
        rows = self._history.rows[parents]
        found: list[Proposal] = []
        for attempt in range(2 * TRIES):
            missing = n - len(found)
            if not missing:
                break
            crossover = self._crossover if attempt < TRIES else 0.0
            children, first = breed(
                self._space, rows, missing, crossover=crossover, mutation=self._mutation, rng=self._rng
            )
            found += self._propose(children, [self._history.keys[parents[i]] for i in first])
        return found

    def _propose(self, rows: Rows, parents: Sequence[str]) -> list[Proposal]:
        new = np.flatnonzero(self._history.is_new(rows))
        return self._history.propose(self._space.architectures(rows[new]), [parents[int(i)] for i in new])
