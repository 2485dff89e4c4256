"""Evolution that learns which mutations pay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.breeding import offspring
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import Indices, usable
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.variation import Floats, Rows, best_first, tournament

STATES = 2
"""Whether the latest mutant got among the parents, or not."""


@dataclass(frozen=True)
class _Mutation:
    """What was done to which parent (its place in the history), in which state."""

    parent: int
    state: int
    choice: int
    option: int


class AdaptiveMutation(Strategy):
    """HHNAS-AM: mutations are chosen by Q-learning from what they gained before.

    There is one mutation for each option of each choice: "set this choice to that option". Q-learning values first
    the choice and then the option, in two states (whether the latest mutant got among the parents); both are drawn
    with probabilities that grow exponentially with their values, so that every mutation stays possible. A mutant's
    reward is its place among the parents: 1 for the best, 0 for one that does not get there or is nowhere better than
    its own parent.

    Departures from Tripathi et al. 2025:

    * The two levels are a choice and its option in any space of choices, where the paper has templates of text
      classifiers above their layers.
    * Parents come from binary tournaments among the best of everything told; with several objectives these lie in
      order of front and crowding. The paper changes one architecture, with one objective.
    * Results may come late and in any order: a mutation is rewarded when its mutant is told.
    * Further choices move with probability ``further`` each, evenly; no architecture is asked twice.
    * Feasible designs come first, then those that break their limits least; failed ones earn nothing.

    Args:
        space: a space of choices.
        objectives: any number.
        limits: feasible designs come before all others.
        rng: the only source of randomness.
        population: how many random architectures come first, and how many may be parents.
        learning_rate: of Q-learning; 0 learns nothing, which leaves fixed and equal rates.
        discount: what the value of the next state counts.
        greed: by how much e-fold a value of 1 makes a mutation likelier than a value of 0.
        further: probability with which each other choice moves, too.

    Raises:
        InvalidOption: for an option outside its range.
    """

    paper = Paper(
        authors="Tripathi, Anurag and Singh, Ajeet Kumar and Surya, Rajsabi and Gupta, Aum and Veikho, Sahiinii "
        "Lemaina and Herremans, Dorien and Bisane, Sudhir",
        title="HHNAS-AM: Hierarchical Hybrid Neural Architecture Search using Adaptive Mutation Policies",
        year=2025,
        arxiv="2508.14946",
    )
    handles: ClassVar[Handles] = Handles(rows=True)

    def __init__(  # noqa: PLR0913 - its options
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        population: int = 10,
        learning_rate: float = 0.4,
        discount: float = 0.2,
        greed: float = 4.0,
        further: float = 0.0,
    ) -> None:
        self._population = whole("population", population, least=2)
        self._learning_rate = number("learning_rate", learning_rate, most=1)
        self._discount = number("discount", discount, least=0, most=0.99)
        self._greed = number("greed", greed, most=50)
        self._further = number("further", further, most=1)
        self._history = RowHistory(space, objectives, limits)
        self._space = space
        self._rng = rng
        d, most = len(space.choices), int(space.cardinalities.max())
        self._of_choice = np.zeros((STATES, d))
        self._of_option = np.zeros((STATES, d, most))
        self._state = 0
        self._pending: dict[str, _Mutation] = {}

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random until ``population`` are known, then mutants."""
        drawn: dict[bytes, _Mutation] = {}

        proposals = offspring(
            self._history,
            n,
            lambda wanted: self._mutants(wanted, drawn),
            initial=self._population,
            rng=self._rng,
        )
        for proposal, row in zip(proposals, self._space.rows([p.architecture for p in proposals]), strict=True):
            if proposal.parent is not None:
                self._pending[proposal.architecture.key] = drawn[row.tobytes()]
        return proposals

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; mutations that were asked earn their rewards."""
        history = self._history
        changed = [e.architecture.key for e in history.tell(evaluations)]
        mutants = [(key, self._pending.pop(key)) for key in changed if key in self._pending]
        if not mutants:
            return
        order = {history.keys[i]: (place, int(i)) for place, i in enumerate(self._parents())}
        for key, mutation in mutants:
            place, at = order.get(key, (self._population, -1))
            gained = at >= 0 and self._gains(at, mutation.parent)
            self._learn(mutation, 1 - place / self._population if gained else 0.0, int(gained))

    def _gains(self, child: int, parent: int) -> bool:
        """Whether the child is better in any way; what changes nothing earns nothing."""
        history = self._history
        if history.violations[child] != history.violations[parent]:
            return bool(history.violations[child] < history.violations[parent])
        return bool((history.costs[child] < history.costs[parent]).any())

    def _learn(self, mutation: _Mutation, reward: float, state: int) -> None:
        for values, at in (
            (self._of_choice[:, None, :], (mutation.state, 0, mutation.choice)),
            (self._of_option[:, mutation.choice, None, :], (mutation.state, 0, mutation.option)),
        ):
            ahead = float(values[state].max())
            values[at] += self._learning_rate * (reward + self._discount * ahead - values[at])
        self._state = state

    def _parents(self) -> Indices:
        known = usable(self._history)
        order = best_first(self._history.costs[known], self._history.violations[known], self._population)
        return known[order]

    def _mutants(self, n: int, drawn: dict[bytes, _Mutation]) -> tuple[Rows, Indices]:
        """Up to ``n`` mutants and their parents; ``drawn`` notes the mutation behind each row."""
        parents = self._parents()
        parents = parents[tournament(len(parents), n, self._rng)]
        rows = self._history.rows[parents].copy()
        movable = self._space.active(rows) & (self._space.cardinalities > 1)
        mutations = {int(i): self._mutate(rows[i], movable[i], int(parents[i])) for i in _any(movable)}
        canonical = self._space.canonical_rows(rows)
        valid = self._space.valid(canonical)
        kept = np.array([i for i in mutations if valid[i]], dtype=np.intp)
        for i in kept:
            drawn.setdefault(canonical[i].tobytes(), mutations[int(i)])
        return canonical[kept], parents[kept]

    def _mutate(self, row: Rows, movable: NDArray[np.bool_], parent: int) -> _Mutation:
        """Change ``row (d,)`` in place by a mutation that is drawn by its value."""
        choice = self._pick(self._of_choice[self._state], movable)
        others = np.arange(self._of_option.shape[2]) < self._space.cardinalities[choice]
        others[row[choice]] = False
        option = self._pick(self._of_option[self._state, choice], others)
        row[choice] = option
        too = movable & (self._rng.random(len(row)) < self._further)
        too[choice] = False
        row[too] = self._rng.integers(self._space.cardinalities[too])
        return _Mutation(parent, self._state, choice, option)

    def _pick(self, values: Floats, allowed: NDArray[np.bool_]) -> int:
        """One of the ``allowed`` places, likelier the higher its value."""
        chances = np.where(allowed, np.exp(self._greed * np.minimum(values - values[allowed].max(), 0.0)), 0.0)
        return int(self._rng.choice(len(values), p=chances / chances.sum()))


def _any(movable: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.flatnonzero(movable.any(axis=1))
