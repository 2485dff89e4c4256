"""Evolution that gives up whatever adds least hypervolume."""

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
from archsmith.strategy.kit.pymoo_parts import pymoo, surviving
from archsmith.strategy.kit.survivors import Survivors
from archsmith.strategy.kit.variation import Floats, Rows


class SmsEmoa(Strategy):
    """SMS-EMOA: steady state; of the last front, the design that adds least hypervolume dies.

    Selection is pymoo's. Parents are drawn evenly among feasible survivors.

    Departures from Beume, Naujoks and Emmerich 2007:

    * Several designs may be told at once, asked for or not; they all join before the weakest die one by one.
    * Objectives are scaled to survivors and newcomers before volumes are compared, with a far reference point (in
      units of the scaled range, 11), where the paper keeps the ends of the front by definition.
    * Infeasible designs live only while feasible ones do not fill the population, those that break least first.
    * No architecture is asked twice; crossover and mutation are the space's own; failed ones are never parents.

    Args:
        space: a space of choices.
        objectives: any number; time grows fast beyond four.
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
        authors="Beume, Nicola and Naujoks, Boris and Emmerich, Michael",
        title="SMS-EMOA: Multiobjective selection based on dominated hypervolume",
        year=2007,
        venue="European Journal of Operational Research 181(3)",
        doi="10.1016/j.ejor.2006.08.008",
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
        self._survival = pymoo("algorithms.moo.sms", "sms_emoa").LeastHypervolumeContributionSurvival()
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
        if costs.shape[1] == 1:  # with one objective the volume that a design adds is its rank
            return np.argsort(costs[:, 0], kind="stable")[:size]
        return surviving(self._survival, costs, size, self._rng)
