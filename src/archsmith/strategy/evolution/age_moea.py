"""Evolution that estimates the shape of the front before it judges how crowded it is."""

from __future__ import annotations

import numpy as np

from archsmith.method import Paper
from archsmith.pareto import non_dominated_rank
from archsmith.strategy.kit.age_geometry import survival_scores
from archsmith.strategy.kit.observations import Indices
from archsmith.strategy.kit.survivors import Select, SurvivorEvolution, boxed
from archsmith.strategy.kit.variation import Floats, tournament


class AgeMoea(SurvivorEvolution):
    """AGE-MOEA: NSGA-II whose crowding is measured in the geometry that the front turns out to have.

    The first front, scaled by its own corners, is taken for a unit sphere of an unknown norm, which follows from its
    most central member. A survival score then adds up how far a member lies from those already kept and how near it
    is to the ideal point, both in that norm. Binary tournaments go by front, then by score.

    Departures from Panichella 2019:

    * Steady state: whatever is told competes with the survivors at once, asked for or not, in any order.

    All other departures, and the options, are those of :class:`~archsmith.strategy.kit.survivors.SurvivorEvolution`.
    """

    paper = Paper(
        authors="Panichella, Annibale",
        title="An adaptive evolutionary algorithm based on non-Euclidean geometry for many-objective optimization",
        year=2019,
        venue="GECCO",
        doi="10.1145/3321707.3321839",
    )

    def _selection(self, objectives: int, population: int) -> Select:  # noqa: ARG002 - the same for all sizes
        return lambda costs, size: ordered(costs)[:size]

    def _pairs(self, n: int) -> Indices:
        places = self._alive.places
        costs, violations = self._history.costs[places], self._history.violations[places]
        feasible = np.flatnonzero(violations == 0)
        order = np.argsort(violations, kind="stable")
        if len(feasible):
            order[: len(feasible)] = feasible[ordered(boxed(costs[feasible]))]
        winners = tournament(len(places), 2 * n, self._rng).reshape(n, 2)
        return places[order[winners]]


def ordered(costs: Floats) -> Indices:
    """Indices of feasible ``costs (n, m)``, best first: by front, then by survival score."""
    ranks = non_dominated_rank(costs)
    order: Indices = np.lexsort((np.arange(len(costs)), -survival_scores(costs, ranks), ranks))
    return order
