"""The steady-state genetic algorithm for one objective."""

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
from archsmith.strategy.kit.options import number, one_objective
from archsmith.strategy.kit.recalling import RecallingHistory
from archsmith.strategy.kit.variation import Floats


class GeneticAlgorithm(RecallingHistory):
    """GENITOR: one objective, parents drawn by rank, each child pushes the worst out.

    Members of the population lie in order of quality; a parent is drawn with a linear preference for the front of
    that order (``bias`` times the middle one's chance for the very best), so that the pressure does not depend on the
    scale of the objective.

    Departures from Whitley 1989:

    * Crossover (uniform, both parents' conditions respected) and mutation are the space's own.
    * The population is the best of *everything* told, asked for or not, so that results may come in any order.
    * Feasible designs come first, then those that break their limits least; failed ones are never parents.
    * No architecture is asked twice.

    Args:
        space: a space of choices.
        objectives: exactly one.
        limits: feasible designs come before all others.
        rng: the only source of randomness.
        population: how many random architectures come first, and how many may be parents.
        bias: how much likelier the best is drawn than the middle one, from 1 (no preference) to 2.
        crossover: probability that a child has two parents.
        mutation: probability per choice; ``None`` for the space's own (one choice on average).

    Raises:
        InvalidOption: for an option outside its range, or several objectives.
    """

    paper = Paper(
        authors="Whitley, Darrell",
        title="The GENITOR algorithm and selection pressure: Why rank-based allocation of reproductive trials is best",
        year=1989,
        venue="International Conference on Genetic Algorithms",
    )
    handles: ClassVar[Handles] = Handles(objectives=1, rows=True)
    _history: RowHistory

    def __init__(
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        population: int = 20,
        bias: float = 1.5,
        crossover: float = 0.9,
        mutation: float | None = None,
    ) -> None:
        one_objective(objectives, "genetic_algorithm")
        self._history = RowHistory(space, objectives, limits)
        self._breeding = Breeding(self._history, population, crossover=crossover, mutation=mutation, rng=rng)
        self._bias = number("bias", bias, least=1, most=2)
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random until ``population`` are known, then children."""
        return self._breeding.ask(n, self._pairs)

    def _pairs(self, n: int) -> Indices:
        history = self._history
        alive = usable(history)
        order = alive[np.lexsort((alive, history.costs[alive, 0], history.violations[alive]))][
            : self._breeding.population
        ]
        chances = linear_ranking(len(order), self._bias)
        return order[self._rng.choice(len(order), (n, 2), p=chances)]


def linear_ranking(size: int, bias: float) -> Floats:
    """Chance of each of ``size`` members that lie best first, falling linearly from ``bias / size``.

    >>> linear_ranking(3, 1.5).round(3).tolist()
    [0.5, 0.333, 0.167]
    """
    places = np.linspace(0, 1, size) if size > 1 else np.full(1, 0.5)
    chances: Floats = (bias - 2 * (bias - 1) * places) / size
    return np.asarray(chances / chances.sum())
