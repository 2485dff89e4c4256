"""Evolution that estimates the shape of the front before it judges how crowded it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.pareto import non_dominated_rank
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.age_geometry import survival_scores
from archsmith.strategy.kit.breeding import mated, offspring
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import Indices
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.survivors import Survivors, boxed
from archsmith.strategy.kit.variation import Floats, Rows, tournament


class AgeMoea(Strategy):
    """AGE-MOEA: NSGA-II whose crowding is measured in the geometry that the front turns out to have.

    The first front, scaled by its own corners, is taken for a unit sphere of an unknown norm, which follows from its
    most central member. A survival score then adds up how far a member lies from those already kept and how near it
    is to the ideal point, both in that norm. Binary tournaments go by front, then by score.

    Departures from Panichella 2019:

    * Steady state: whatever is told competes with the survivors at once, asked for or not, in any order.
    * Infeasible designs live only while feasible ones do not fill the population, those that break least first.
    * No architecture is asked twice; crossover and mutation are the space's own; failed ones are never parents.

    Args:
        space: a space of choices.
        objectives: any number.
        limits: feasible designs come before all others.
        rng: the only source of randomness.
        population: how many random architectures come first, and how many survive.
        crossover: probability that a child has two parents.
        mutation: probability per choice; ``None`` for the space's own (one choice on average).

    Raises:
        InvalidOption: for an option outside its range.
    """

    paper = Paper(
        authors="Panichella, Annibale",
        title="An adaptive evolutionary algorithm based on non-Euclidean geometry for many-objective optimization",
        year=2019,
        venue="GECCO",
        doi="10.1145/3321707.3321839",
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
        self._alive = Survivors(self._history, population, lambda costs, size: ordered(costs)[:size])
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random until ``population`` are known, then children."""
        return offspring(self._history, n, self._children, initial=self._population, rng=self._rng)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones only prevent a repetition."""
        self._alive.tell(evaluations)

    def _children(self, n: int, alone: bool) -> tuple[Rows, Indices]:  # noqa: FBT001 - the form of Breed
        places = self._alive.places
        costs, violations = self._history.costs[places], self._history.violations[places]
        feasible = np.flatnonzero(violations == 0)
        order = np.argsort(violations, kind="stable")
        if len(feasible):
            order[: len(feasible)] = feasible[ordered(boxed(costs[feasible]))]
        winners = tournament(len(places), 2 * n, self._rng).reshape(n, 2)
        crossover = 0.0 if alone else self._crossover
        pairs = places[order[winners]]
        return mated(self._history, pairs, crossover=crossover, mutation=self._mutation, rng=self._rng)


def ordered(costs: Floats) -> Indices:
    """Indices of feasible ``costs (n, m)``, best first: by front, then by survival score."""
    ranks = non_dominated_rank(costs)
    order: Indices = np.lexsort((np.arange(len(costs)), -survival_scores(costs, ranks), ranks))
    return order
