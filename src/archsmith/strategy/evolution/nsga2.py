"""The evolutionary search that most of the field compares with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles
from archsmith.strategy.kit.breeding import Breeding
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import Indices, usable
from archsmith.strategy.kit.recalling import RecallingHistory
from archsmith.strategy.kit.variation import best_first, tournament

BREEDING_ROUNDS = 20
"""Rounds of breeding, and then of mutation, before random designs fill up what is missing; none is a wider one."""


class Nsga2(RecallingHistory):
    """NSGA-II: non-dominated sorting, crowding, binary tournaments; feasibility before everything else.

    Departures from Deb et al. 2002:

    * Steady state instead of generations: each ask breeds from the best ``population`` of *everything* told so far, so
      that results may come late, in any order and from elsewhere. With batches of ``population`` it is the paper's.
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
    _history: RowHistory

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
        self._history = RowHistory(space, objectives, limits)
        self._breeding = Breeding(self._history, population, crossover=crossover, mutation=mutation, rng=rng)
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random until ``population`` are known, then children."""
        parents = self._parents()

        def pairs(wanted: int) -> Indices:
            drawn = [tournament(len(parents), wanted, self._rng) for _ in range(2)]
            return parents[np.stack(drawn, axis=1)]

        return self._breeding.ask(n, pairs, rounds=BREEDING_ROUNDS, widest=0)

    def _parents(self) -> Indices:
        """Places of the best ``population``, best first."""
        history = self._history
        ok = usable(history)
        return ok[best_first(history.costs[ok], history.violations[ok], self._breeding.population)]
