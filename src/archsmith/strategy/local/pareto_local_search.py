"""Local search around a whole front."""

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
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.neighbourhood import Vicinity
from archsmith.strategy.kit.observations import usable
from archsmith.strategy.kit.variation import constrained_ranks


class ParetoLocalSearch(Strategy):
    """Pareto local search: visit the members of the front at random and try their neighbours.

    The archive holds what nothing known dominates. A member whose neighbours have not all been tried is drawn, and
    one of its untried neighbours is asked; whatever is not dominated joins the archive at once. Members without
    untried neighbours are explored for good.

    Departures from Paquete, Chiarandini and Stützle 2004:

    * A member is drawn anew for each proposal, where the paper tries all neighbours of one member before it looks at
      the archive again: results count sooner, and batches spread over the front.
    * The archive starts from ``initial`` random designs, the paper's from one; everything told may enter it.
    * Where the whole front is explored, the paper ends; here the front behind it follows, and so on.
    * Feasible designs come first; while none is known, the archive holds those that break their limits least. Failed
      ones never enter.

    Args:
        space: a space of choices.
        objectives: any number.
        limits: feasible designs come before all others.
        rng: the only source of randomness.
        initial: random designs before the first neighbours.

    Raises:
        InvalidOption: for an option outside its range.
    """

    paper = Paper(
        authors="Paquete, Luís and Chiarandini, Marco and Stützle, Thomas",
        title="Pareto Local Optimum Sets in the Biobjective Traveling Salesman Problem: An Experimental Study",
        year=2004,
        venue="Metaheuristics for Multiobjective Optimisation, Springer",
        doi="10.1007/978-3-642-17144-4_7",
    )
    handles: ClassVar[Handles] = Handles(rows=True)

    def __init__(
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        initial: int = 10,
    ) -> None:
        self._history = RowHistory(space, objectives, limits)
        self._vicinity = Vicinity(self._history, initial, rng)
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random ones first, then neighbours of the front."""
        return self._vicinity.ask(n, self._near_front)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones only prevent a repetition."""
        self._history.tell(evaluations)

    def _near_front(self, n: int) -> list[Proposal]:
        """Up to ``n`` untried neighbours, of the first front that has any."""
        history = self._history
        known = usable(history)
        ranks = constrained_ranks(history.costs[known], history.violations[known])
        proposals: list[Proposal] = []
        for rank in range(int(ranks.max()) + 1):
            members = known[ranks == rank]
            while len(proposals) < n and len(members):
                drawn = int(self._rng.integers(len(members)))
                rows = self._vicinity.untried(int(members[drawn]))[:1]
                if len(rows):
                    proposals += history.propose(history.space.architectures(rows), [history.keys[members[drawn]]])
                else:
                    members = np.delete(members, drawn)
            if len(proposals) == n:
                break
        return proposals
