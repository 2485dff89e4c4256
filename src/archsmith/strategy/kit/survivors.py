"""Populations that live on: what is told competes with the survivors, feasible designs before all others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.metric import Limit, Objective
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.breeding import Breeding
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import Indices
from archsmith.strategy.kit.variation import Floats

Select = Callable[[Floats, int], Sequence[int] | NDArray[np.integer]]
"""Costs ``(n, m)`` in the box 0..1, and how many of them survive, fewer than ``n`` -> which."""


class Survivors:
    """The places in a history of at most ``size`` survivors.

    Everything told competes with them at once, asked for or not; failed evaluations never survive. Who survives
    depends on the order of telling, as in every steady-state method.

    Args:
        history: of all that is known.
        size: how many may live.
        select: the method's own way to choose among feasible designs.
    """

    def __init__(self, history: RowHistory, size: int, select: Select) -> None:
        self._history = history
        self._size = size
        self._select = select
        self.places: Indices = np.zeros(0, dtype=np.intp)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Note evaluations in the history; then the best of survivors and newcomers live on."""
        history = self._history
        before = len(history.keys)
        changed = [e.architecture.key for e in history.tell(evaluations)]
        if not changed:
            return
        again = [history.keys.index(key) for key in changed if key in history.keys[:before]]
        pool = np.union1d(self.places, [*again, *range(before, len(history.keys))]).astype(np.intp)
        pool = pool[np.isfinite(history.costs[pool]).all(axis=1)]
        self.places = pool[_fittest(history.costs[pool], history.violations[pool], self._size, self._select)]

    def couples(self, n: int, rng: np.random.Generator) -> Indices:
        """Places of ``n`` pairs of parents ``(n, 2)``: winners of binary tournaments by violation, ties by chance."""
        drawn = rng.integers(0, len(self.places), (n, 2, 2))
        broken = self._history.violations[self.places[drawn]]
        second = broken[..., 1] < broken[..., 0]
        return self.places[np.where(second, drawn[..., 1], drawn[..., 0])]


class SurvivorEvolution(Strategy):
    """Evolution in a steady state: whatever is told competes with the survivors at once, and pairs of them breed.

    A method chooses the survivors and the pairs that breed. Common to all of them: infeasible designs live only
    while feasible ones do not fill the population, those that break least first; no architecture is asked twice;
    crossover and mutation are the space's own; failed ones are never parents.
    """

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
        """An empty population.

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
            MissingExtra: for a method of pymoo's, without pymoo (extra ``moo``).
        """
        self._history = RowHistory(space, objectives, limits)
        self._breeding = Breeding(self._history, population, crossover=crossover, mutation=mutation, rng=rng)
        self._rng = rng
        self._alive = Survivors(self._history, population, self._selection(len(objectives), population))

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random until ``population`` are known, then children."""
        return self._breeding.ask(n, self._pairs)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones only prevent a repetition."""
        self._alive.tell(evaluations)

    @abstractmethod
    def _selection(self, objectives: int, population: int) -> Select:
        """How the method chooses survivors among feasible designs."""

    @abstractmethod
    def _pairs(self, n: int) -> Indices:
        """Places in the history of ``n`` pairs of parents, ``(n, 2)``."""


def _fittest(costs: Floats, violations: Floats, size: int, select: Select) -> Indices:
    """Which rows of a pool survive, ascending: all feasible ones or a selection, then those that break least."""
    if len(costs) <= size:
        return np.arange(len(costs))
    feasible = np.flatnonzero(violations == 0)
    if len(feasible) > size:
        chosen = np.asarray(select(boxed(costs[feasible]), size), dtype=np.intp)
        return np.sort(feasible[chosen])
    infeasible = np.flatnonzero(violations > 0)
    order = infeasible[np.argsort(violations[infeasible], kind="stable")]
    return np.sort(np.concatenate([feasible, order[: size - len(feasible)]]))


def boxed(costs: Floats) -> Floats:
    """Costs ``(n, m)`` moved and scaled to 0..1 in each objective; 0 where one never changes."""
    span = np.ptp(costs, axis=0)
    scaled: Floats = (costs - costs.min(axis=0)) / np.where(span > 0, span, 1.0)
    return scaled
