"""New proposals of evolutionary methods: random designs first, then children that were never proposed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Proposal
from archsmith.strategy.kit.first_designs import random_first
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import Indices, usable
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.variation import Rows

ROUNDS = 6
"""Of breeding, and then of mutation alone, before random designs fill up what is missing."""
WIDEST_ROUND = 64
"""Children of one round, where fewer are wanted: each round breeds twice as many as the one before."""

Breed = Callable[[int], tuple[Rows, Indices]]
"""``n`` -> up to ``n`` children ``(k, d)`` and the places of their first parents in the history ``(k,)``."""


def offspring(
    history: RowHistory,
    n: int,
    breed: Breed,
    *,
    initial: int,
    rng: np.random.Generator,
    alone: Breed | None = None,
    rounds: int = ROUNDS,
    widest: int = WIDEST_ROUND,
) -> list[Proposal]:
    """Up to ``n`` new proposals; fewer only where the space is used up.

    Args:
        history: what is known; the proposals are noted in it.
        n: how many.
        breed: how children are made; not called before something has succeeded.
        initial: how many random designs come before the first child.
        rng: where random designs come from.
        alone: makes mutants of one parent, where children of two are all known; ``None``: ``breed`` again.
        rounds: of breeding, and then of mutation alone.
        widest: children of one round, where fewer are wanted.
    """
    if n <= 0:
        return []
    ready = len(usable(history)) > 0
    proposals = random_first(history, n, initial, rng, ready=ready)
    if ready:
        for attempt in range(2 * rounds):
            missing = n - len(proposals)
            if not missing:
                break
            make = breed if alone is None or attempt < rounds else alone
            rows, parents = make(max(missing, min(missing * 2 ** (attempt % rounds), widest)))
            new = np.flatnonzero(history.is_new(rows))[:missing]
            keys = [history.keys[int(i)] for i in parents[new]]
            proposals += history.propose(history.space.architectures(rows[new]), keys)
    if missing := n - len(proposals):
        proposals += history.propose(history.fresh(missing, rng))
    return proposals


class Breeding:
    """Random designs first, then one child of each pair of parents: the options of a population, and what it asks.

    Args:
        history: what is known.
        population: how many random designs come first.
        crossover: probability that a child has two parents.
        mutation: probability per choice; ``None`` for the space's own (one choice on average).
        rng: the only source of randomness.

    Raises:
        InvalidOption: for an option outside its range.
    """

    def __init__(
        self,
        history: RowHistory,
        population: int,
        *,
        crossover: float,
        mutation: float | None,
        rng: np.random.Generator,
    ) -> None:
        self.population = whole("population", population, least=2)
        self._crossover = number("crossover", crossover, most=1)
        self._mutation = None if mutation is None else number("mutation", mutation, most=1)
        self._history = history
        self._rng = rng

    def ask(
        self, n: int, pairs: Callable[[int], Indices], *, rounds: int = ROUNDS, widest: int = WIDEST_ROUND
    ) -> list[Proposal]:
        """Up to ``n`` new proposals: random until ``population`` are known, then children.

        Args:
            n: how many.
            pairs: gives the places in the history of as many pairs of parents as it is asked for, ``(n, 2)``.
            rounds: of breeding, and then of mutation alone.
            widest: children of one round, where fewer are wanted.
        """

        def children(crossover: float) -> Breed:
            return lambda wanted: self._mated(pairs(wanted), crossover)

        return offspring(
            self._history,
            n,
            children(self._crossover),
            alone=children(0.0),
            initial=self.population,
            rng=self._rng,
            rounds=rounds,
            widest=widest,
        )

    def _mated(self, pairs: NDArray[np.integer], crossover: float) -> tuple[Rows, Indices]:
        """One child of each of ``pairs (n, 2)``: crossed with probability ``crossover``, then mutated."""
        history, rng = self._history, self._rng
        children = history.rows[pairs[:, 0]]
        crossed = rng.random(len(pairs)) < crossover
        if crossed.any():
            children[crossed] = history.space.crossover_rows(children[crossed], history.rows[pairs[crossed, 1]], rng)
        return history.space.mutate_rows(children, rng, self._mutation), pairs[:, 0].astype(np.intp)
