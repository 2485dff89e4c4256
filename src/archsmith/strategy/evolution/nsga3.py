"""The many-objective successor of NSGA-II."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.breeding import mated, offspring
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import Indices
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.pymoo_parts import directions, pymoo, surviving
from archsmith.strategy.kit.survivors import Survivors
from archsmith.strategy.kit.variation import Floats, Rows


class Nsga3(Strategy):
    """NSGA-III: fronts, and on the last that fits one design for each of evenly spread reference directions.

    Selection is pymoo's. Parents are drawn evenly among feasible survivors.

    Departures from Deb and Jain 2014:

    * Steady state: whatever is told competes with the survivors at once, asked for or not, in any order.
    * The hyperplane that scales the objectives is found anew at each selection, from survivors and newcomers.
    * As many reference directions as fit into the population.
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
        MissingExtra: without pymoo (extra ``moo``).
    """

    paper = Paper(
        authors="Deb, Kalyanmoy and Jain, Himanshu",
        title="An Evolutionary Many-Objective Optimization Algorithm Using Reference-Point-Based Nondominated Sorting "
        "Approach, Part I: Solving Problems With Box Constraints",
        year=2014,
        venue="IEEE Transactions on Evolutionary Computation 18(4)",
        doi="10.1109/TEVC.2013.2281535",
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
        self._survival = pymoo("algorithms.moo.nsga3", "nsga3").ReferenceDirectionSurvival
        self._directions = directions(len(objectives), population, "nsga3")
        self._alive = Survivors(self._history, population, self._select)
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random until ``population`` are known, then children."""
        return offspring(self._history, n, self._children, initial=self._population, rng=self._rng)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones only prevent a repetition."""
        self._alive.tell(evaluations)

    def _children(self, n: int, alone: bool) -> tuple[Rows, Indices]:  # noqa: FBT001 - the form of Breed
        pairs = self._alive.couples(n, self._rng)
        crossover = 0.0 if alone else self._crossover
        return mated(self._history, pairs, crossover=crossover, mutation=self._mutation, rng=self._rng)

    def _select(self, costs: Floats, size: int) -> Indices:
        return surviving(self._survival(self._directions), costs, size, self._rng)
