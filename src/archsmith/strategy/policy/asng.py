"""A natural-gradient relative of CMA-ES for categorical choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.options import number, one_objective, whole
from archsmith.strategy.kit.variation import Floats, Rows

DISTRIBUTION_DRAWS = 30
"""Draws for one proposal before a neighbour of the last one, and then a random design, takes its place."""
ALPHA = 1.5
"""How much clearer than chance the direction of the steps must be before they grow (the paper's alpha)."""
LARGEST_STEP = 2.0
"""In the Fisher metric; longer ones leave the region where the gradient says anything."""


class Asng(Strategy):
    """ASNG: one objective; a probability for each option, moved along the natural gradient in trusted steps.

    It is to categorical choices what CMA-ES is to real numbers: designs are drawn from a product of categorical
    distributions, ranked, and the distribution moves towards the better and away from the worse ones. The length
    of a step, in the Fisher metric, grows while steps agree with each other and shrinks while they are noise. No
    option's probability falls below a floor.

    Departures from Akimoto et al. 2019:

    * ``generation`` designs a step, weighted +1 for the best quarter and -1 for the worst, where the paper has
      two; ``rate`` is larger, since here each design costs an evaluation, there a training step.
    * A draw that is known counts in its generation with its known value, and nothing is asked twice.
    * Evaluations form generations in the order told, also those that were not asked for.
    * Ordinal choices are treated as categories; choices inactive in a design learn nothing from it.
    * Feasible designs rank first, then those that break their limits least; failed ones rank last.

    Args:
        space: a space of choices.
        objectives: exactly one.
        limits: feasible designs come before all others.
        rng: the only source of randomness.
        generation: designs from one step to the next.
        rate: length of the first step in the Fisher metric.

    Raises:
        InvalidOption: for an option outside its range, or several objectives.
    """

    paper = Paper(
        authors="Akimoto, Youhei and Shirakawa, Shinichi and Yoshinari, Nozomu and Uchida, Kento and Saito, Shota and "
        "Nishida, Kouhei",
        title="Adaptive Stochastic Natural Gradient Method for One-Shot Neural Architecture Search",
        year=2019,
        venue="ICML",
        arxiv="1905.08537",
    )
    handles: ClassVar[Handles] = Handles(objectives=1, rows=True)

    def __init__(
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        generation: int = 8,
        rate: float = 1.0,
    ) -> None:
        one_objective(objectives, "asng")
        self._generation = whole("generation", generation, least=2)
        self._history = RowHistory(space, objectives, limits)
        self._distribution = Distribution(space.cardinalities, number("rate", rate, least=0.001, most=LARGEST_STEP))
        self._waiting: list[int] = []
        self._places: dict[bytes, int] = {}
        self._space = space
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals drawn from the distribution; fewer once the space is used up."""
        proposals: list[Proposal] = []
        while len(proposals) < n:
            row = self._draw()
            if row is None:
                return proposals + self._history.propose(self._history.fresh(n - len(proposals), self._rng))
            proposals += self._history.propose(self._space.architectures(row[None]))
        return proposals

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations, a generation at a time; failed ones rank last."""
        before = len(self._history.keys)
        self._history.tell(evaluations)
        for place in range(before, len(self._history.keys)):
            self._places[self._history.rows[place].tobytes()] = place
            self._count(place)

    def _draw(self) -> Rows | None:
        """A new row from the distribution, or a neighbour of one that was known."""
        row = None
        for _ in range(DISTRIBUTION_DRAWS):
            drawn = self._space.canonical_rows(self._distribution.draw(self._rng)[None])
            if not self._space.valid(drawn)[0]:
                continue
            if self._history.is_new(drawn)[0]:
                return np.asarray(drawn[0])
            row = drawn
            place = self._places.get(row.tobytes())
            if place is not None:
                self._count(place)
        if row is None:
            return None
        near = self._space.neighbour_rows(row[0])
        near = near[self._history.is_new(near)] if len(near) else near
        return np.asarray(near[self._rng.integers(len(near))]) if len(near) else None

    def _count(self, place: int) -> None:
        """One more member of the generation; a full one moves the distribution."""
        self._waiting.append(place)
        if len(self._waiting) < self._generation:
            return
        at, self._waiting = np.array(self._waiting), []
        weights = ranked_weights(self._history.costs[at, 0], self._history.violations[at])
        rows = self._history.rows[at]
        self._distribution.move(rows, self._space.active(rows), weights)


def ranked_weights(costs: Floats, violations: Floats) -> Floats:
    """+1 for the best quarter of a generation and -1 for the worst, shared evenly by equals; sums to 0.

    >>> ranked_weights(np.array([3.0, 1.0, 2.0, 9.0]), np.zeros(4)).tolist()
    [0.0, 1.0, 0.0, -1.0]
    """
    n = len(costs)
    quarter = max(1, n // 4)
    by_place = np.zeros(n)
    by_place[:quarter], by_place[n - quarter :] = 1.0, -1.0
    order = np.lexsort((costs, violations))
    pairs = np.stack([violations[order], costs[order]])
    ties = np.concatenate([[0], np.cumsum((pairs[:, 1:] != pairs[:, :-1]).any(axis=0))])
    shared = np.bincount(ties, by_place) / np.bincount(ties)
    weights = np.empty(n)
    weights[order] = shared[ties]
    return weights


class Distribution:
    """Independent categorical distributions, one a choice, and the length of their steps.

    Args:
        cardinalities: options of each choice, ``(d,)``.
        rate: length of the first step in the Fisher metric.
    """

    def __init__(self, cardinalities: NDArray[np.integer], rate: float) -> None:
        options = np.arange(int(cardinalities.max()))
        self._real = options < cardinalities[:, None]
        self.probabilities: Floats = self._real / cardinalities[:, None]
        # The paper's floor, but at most a quarter of an even share: with few choices it would leave nothing to learn.
        floor = 1.0 / np.maximum(len(cardinalities) * (cardinalities - 1), 4 * cardinalities)
        self._floor = np.where(self._real, floor[:, None], 0.0)
        self._freedom = max(1.0, float((cardinalities - 1).sum()))
        self._rate = rate
        self.step = rate
        self._path: Floats = np.zeros_like(self.probabilities)
        self._expected = 0.0

    def draw(self, rng: np.random.Generator) -> Rows:
        """One row ``(d,)``."""
        below = rng.random((len(self.probabilities), 1)) >= np.cumsum(self.probabilities, axis=1)
        row: Rows = np.minimum(below.sum(axis=1), self._real.sum(axis=1) - 1).astype(np.int16)
        return row

    def move(self, rows: Rows, active: NDArray[np.bool_], weights: Floats) -> None:
        """One step towards ``rows (n, d)`` of positive and away from those of negative weight."""
        chosen = np.arange(self._real.shape[1]) == rows[:, :, None]
        difference = np.where(active[:, :, None], chosen - self.probabilities, 0.0)
        gradient = np.einsum("n,ndk->dk", weights, difference) / len(rows)
        root = np.sqrt(np.where(self._real, self.probabilities, 1.0))
        length = float(np.linalg.norm(gradient / root))
        if length < 1e-12:
            return
        direction = gradient / length
        self.probabilities = self.probabilities + self.step * direction
        self._project()
        beta = min(1.0, self.step / np.sqrt(self._freedom))
        self._path = (1 - beta) * self._path + np.sqrt(beta * (2 - beta)) * direction / root
        self._expected = (1 - beta) ** 2 * self._expected + beta * (2 - beta)
        agreement = float((self._path**2).sum()) / ALPHA - self._expected
        self.step = float(np.clip(self.step * np.exp(beta * agreement), 0.1 * self._rate, LARGEST_STEP))

    def _project(self) -> None:
        """Back to probabilities that sum to 1 and lie above the floor."""
        raised = np.maximum(self.probabilities, self._floor)
        spare = raised - self._floor
        left = 1.0 - self._floor.sum(axis=1, keepdims=True)
        total = spare.sum(axis=1, keepdims=True)
        self.probabilities = self._floor + spare * np.where(total > 0, left / np.where(total > 0, total, 1.0), 0.0)
