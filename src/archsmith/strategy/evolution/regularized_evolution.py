"""Evolution in which members leave by age, not by quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles
from archsmith.strategy.kit.breeding import offspring
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import Indices, usable
from archsmith.strategy.kit.options import whole
from archsmith.strategy.kit.recalling import RecallingHistory
from archsmith.strategy.kit.variation import Rows, best_first


class RegularizedEvolution(RecallingHistory):
    """Regularised (ageing) evolution: mutants of the best of a random sample of the youngest designs.

    The population is a queue: the youngest ``population`` evaluations. Each child is a mutant, one choice changed, of
    the best of ``sample`` members drawn at random; as it joins, the oldest leaves, however good it was.

    Departures from Real et al. 2019:

    * With several objectives, the best of a sample is the one on the first front of the *population*, under
      constrained domination, and there the least crowded; the paper has one objective.
    * Smaller population and sample than the paper's 100 and 25, for searches of hundreds of evaluations.
    * No architecture is asked twice, and failed evaluations never join the queue. Age is the order of telling.

    Args:
        space: a space of choices.
        objectives: any number.
        limits: feasible designs come before all others, then those with the smaller sum of relative violations.
        rng: the only source of randomness.
        population: how many random architectures come first, and how many live.
        sample: members drawn for each tournament.

    Raises:
        InvalidOption: for an option outside its range.
    """

    paper = Paper(
        authors="Real, Esteban and Aggarwal, Alok and Huang, Yanping and Le, Quoc V.",
        title="Regularized Evolution for Image Classifier Architecture Search",
        year=2019,
        venue="AAAI",
        arxiv="1802.01548",
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
        population: int = 30,
        sample: int = 10,
    ) -> None:
        self._population = whole("population", population, least=2)
        self._sample = whole("sample", sample, least=1)
        self._history = RowHistory(space, objectives, limits)
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random until ``population`` are known, then mutants."""
        return offspring(self._history, n, self._mutants, initial=self._population, rng=self._rng)

    def _mutants(self, n: int) -> tuple[Rows, Indices]:
        history = self._history
        alive = usable(history)[-self._population :]
        order = alive[best_first(history.costs[alive], history.violations[alive], self._population)]
        drawn = self._rng.integers(0, len(order), (n, self._sample))
        parents = order[drawn.min(axis=1)]
        return history.space.mutate_rows(history.rows[parents], self._rng, 0.0), parents
