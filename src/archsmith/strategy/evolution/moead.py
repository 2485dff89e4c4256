"""Evolution of many single-objective subproblems side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.pareto import is_non_dominated
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.breeding import Breeding
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import Indices, usable
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.pymoo_parts import directions, pymoo
from archsmith.strategy.kit.survivors import boxed


class Moead(Strategy):
    """MOEA/D: each of evenly spread weights has its own best design; parents come from neighbouring weights.

    The subproblems take turns, in random order. Costs are scaled to what the front spans and decomposed by
    weighted Chebyshev distance for up to two objectives, by penalised boundary intersection beyond (both pymoo's).

    Departures from Zhang and Li 2007:

    * Each subproblem's incumbent is the best of *everything* told for its weight, asked for or not; the paper lets a
      child replace only those of its neighbourhood, as the order of results must not matter here.
    * As many weights as fit into ``population``; with one objective there is one, and its best is the only parent.
    * For each weight feasible designs come first, then those that break their limits least.
    * No architecture is asked twice; crossover and mutation are the space's own; failed ones are never parents.

    Args:
        space: a space of choices.
        objectives: any number.
        limits: feasible designs come before all others.
        rng: the only source of randomness.
        population: how many random architectures come first, and at most how many weights there are.
        neighbours: weights, its own among them, from which a subproblem's parents come.
        locality: probability that parents come from the neighbours and not from anywhere.
        crossover: probability that a child has two parents.
        mutation: probability per choice; ``None`` for the space's own (one choice on average).

    Raises:
        InvalidOption: for an option outside its range.
        MissingExtra: without pymoo (extra ``moo``).
    """

    paper = Paper(
        authors="Zhang, Qingfu and Li, Hui",
        title="MOEA/D: A Multiobjective Evolutionary Algorithm Based on Decomposition",
        year=2007,
        venue="IEEE Transactions on Evolutionary Computation 11(6)",
        doi="10.1109/TEVC.2007.892759",
    )
    handles: ClassVar[Handles] = Handles(rows=True)

    def __init__(  # noqa: PLR0913 - its options
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        population: int = 20,
        neighbours: int = 5,
        locality: float = 0.9,
        crossover: float = 0.9,
        mutation: float | None = None,
    ) -> None:
        self._history = RowHistory(space, objectives, limits)
        self._breeding = Breeding(self._history, population, crossover=crossover, mutation=mutation, rng=rng)
        self._locality = number("locality", locality, most=1)
        self._weights = directions(len(objectives), population, "moead")
        apart = ((self._weights[:, None] - self._weights[None]) ** 2).sum(axis=2)
        self._near = np.argsort(apart, axis=1, kind="stable")[:, : whole("neighbours", neighbours, least=2)]
        if len(objectives) <= 2:
            self._decomposition = pymoo("decomposition.tchebicheff", "moead").Tchebicheff()
        else:
            self._decomposition = pymoo("decomposition.pbi", "moead").PBI()
        self._rng = rng
        self._turns: list[int] = []

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random until ``population`` are known, then children."""
        return self._breeding.ask(n, self._pairs)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones only prevent a repetition."""
        self._history.tell(evaluations)

    def _pairs(self, n: int) -> Indices:
        best = self._incumbents()
        pairs = np.empty((n, 2), dtype=np.intp)
        for i in range(n):
            if not self._turns:
                self._turns = [int(k) for k in self._rng.permutation(len(best))]
            near = self._near[self._turns.pop()]
            pool = near if self._rng.random() < self._locality else np.arange(len(best))
            pairs[i] = best[self._rng.choice(pool, 2, replace=len(pool) < 2)]
        return pairs

    def _incumbents(self) -> Indices:
        """The place in the history of the best design for each weight, ``(k,)``."""
        history = self._history
        known = usable(history)
        least = history.violations[known].min()
        known = known[history.violations[known] == least]
        known = known[is_non_dominated(history.costs[known])]
        costs = boxed(history.costs[known])
        values = self._decomposition.do(
            costs, self._weights, _type="many_to_many", ideal_point=np.zeros(costs.shape[1])
        )
        best: Indices = known[np.argmin(values, axis=0)]
        return best
