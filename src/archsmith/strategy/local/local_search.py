"""Hill climbing: the simplest search that uses what it has seen."""

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
from archsmith.strategy.kit.observations import Indices, usable
from archsmith.strategy.kit.policy import AUGMENTATION
from archsmith.strategy.kit.survivors import boxed
from archsmith.strategy.kit.variation import Floats


class LocalSearch(Strategy):
    """Hill climbing with restarts: try the neighbours of the best design in random order, move at once to a better one.

    The climb starts at the best of ``initial`` random designs. Where all neighbours have been tried in vain, the
    next climb starts at a new random design. With several objectives every climb has weights of its own, drawn
    uniformly, and compares designs by the largest weighted cost (as in Den Ottelander et al. 2021, arXiv 2004.08996),
    objectives scaled by what is known.

    Departures from White et al. 2021:

    * The first better neighbour is taken, where the paper looks at a whole neighbourhood before it moves.
    * With several objectives, a climb starts at the best known design for its weights that has untried neighbours,
      not at a random one: what earlier climbs measured is measured for all weights.
    * Everything told counts, asked for or not: whatever beats the present design takes its place. While evaluations are
      outstanding and no neighbour is left, random designs fill the batch.
    * Feasible designs come first, then those that break their limits least; failed ones are never moved to.

    Args:
        space: a space of choices.
        objectives: any number.
        limits: feasible designs come before all others.
        rng: the only source of randomness.
        initial: random designs before the first climb.

    Raises:
        InvalidOption: for an option outside its range.
    """

    paper = Paper(
        authors="White, Colin and Nolen, Sam and Savani, Yash",
        title="Exploring the Loss Landscape in Neural Architecture Search",
        year=2021,
        venue="UAI",
        arxiv="2005.02960",
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
        self._weights = self._drawn_weights()
        self._here: int | None = None
        self._fresh_start = False

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random ones first, then neighbours of the design that the climb has reached."""
        return self._vicinity.ask(n, self._climb)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; what is better than the present design takes its place."""
        before = len(self._history.keys)
        self._history.tell(evaluations)
        new = [int(i) for i in usable(self._history) if i >= before]
        if self._fresh_start and new:
            self._here, self._fresh_start = new[0], False
        if self._here is not None and new:
            self._here = self._best([self._here, *new])

    def _climb(self, n: int) -> list[Proposal]:
        """Untried neighbours of the present design; where there are none, those of a new start."""
        if self._fresh_start:
            return []
        if self._here is None:
            self._here = self._best(usable(self._history))
        rows = self._vicinity.untried(self._here)[:n]
        if not len(rows) and not self._history.open:
            self._restart()
            rows = rows if self._here is None else self._vicinity.untried(self._here)[:n]
        if not len(rows) or self._here is None:
            return []
        parents = [self._history.keys[self._here]] * len(rows)
        return self._history.propose(self._history.space.architectures(rows), parents)

    def _restart(self) -> None:
        """New weights and a new start; one at random is known only once it is told."""
        self._weights = self._drawn_weights()
        self._here = None
        if len(self._weights) > 1:
            known = usable(self._history)
            order = known[np.lexsort((self._scalar(known), self._history.violations[known]))]
            self._here = next((int(i) for i in order if len(self._vicinity.untried(int(i)))), None)
        self._fresh_start = self._here is None

    def _drawn_weights(self) -> Floats:
        return self._rng.dirichlet(np.ones(len(self._history.objectives)))

    def _best(self, places: Sequence[int] | Indices) -> int:
        """The best of ``places``; the first one where several are equal."""
        at = np.asarray(places, dtype=np.intp)
        return int(at[np.lexsort((np.arange(len(at)), self._scalar(at), self._history.violations[at]))[0]])

    def _scalar(self, places: Sequence[int] | Indices) -> Floats:
        """What the present weights make of the costs, ``(n,)``."""
        known = usable(self._history)
        scaled = np.zeros((len(self._history.keys), len(self._weights)))
        scaled[known] = boxed(self._history.costs[known])
        weighted = self._weights * scaled[np.asarray(places, dtype=np.intp)]
        scalar: Floats = weighted.max(axis=1) + AUGMENTATION * weighted.sum(axis=1)
        return scalar
