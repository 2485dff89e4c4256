"""New proposals of evolutionary methods: random designs first, then children that nobody has asked for yet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Proposal
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import Indices, usable
from archsmith.strategy.kit.variation import Rows

ROUNDS = 6
"""Of breeding, and then of mutation alone, before random designs fill up what is missing; each breeds twice as many."""
MOST_BRED = 64
"""Children of one round, where fewer are wanted."""

Breed = Callable[[int, bool], tuple[Rows, Indices]]
"""``breed(n, alone)`` -> up to ``n`` children ``(k, d)`` and the places of their first parents in the history ``(k,)``.

``alone`` asks for mutants of one parent, because children of two were all known.
"""


def offspring(history: RowHistory, n: int, breed: Breed, *, initial: int, rng: np.random.Generator) -> list[Proposal]:
    """Up to ``n`` new proposals; fewer only where the space is used up.

    Args:
        history: what is known; the proposals are noted in it.
        n: how many.
        breed: how children are made; not called before something has succeeded.
        initial: how many random designs come before the first child.
        rng: where random designs come from.
    """
    if n <= 0:
        return []
    known = len(history.told) + len(history.open)
    ready = len(usable(history)) > 0
    first = min(n, max(0, initial - known)) if ready else n
    proposals = history.propose(history.fresh(first, rng)) if first else []
    if ready:
        for attempt in range(2 * ROUNDS):
            missing = n - len(proposals)
            if not missing:
                break
            rows, parents = breed(max(missing, min(missing * 2 ** (attempt % ROUNDS), MOST_BRED)), attempt >= ROUNDS)
            new = np.flatnonzero(history.is_new(rows))[:missing]
            keys = [history.keys[int(i)] for i in parents[new]]
            proposals += history.propose(history.space.architectures(rows[new]), keys)
    if missing := n - len(proposals):
        proposals += history.propose(history.fresh(missing, rng))
    return proposals


def mated(
    history: RowHistory,
    pairs: NDArray[np.integer],
    *,
    crossover: float,
    mutation: float | None,
    rng: np.random.Generator,
) -> tuple[Rows, Indices]:
    """One child of each pair of places in the history ``(n, 2)``: crossed with probability ``crossover``, then mutated.

    Returns:
        The children ``(n, d)``, and their first parents ``(n,)``.
    """
    children = history.rows[pairs[:, 0]]
    crossed = rng.random(len(pairs)) < crossover
    if crossed.any():
        children[crossed] = history.space.crossover_rows(children[crossed], history.rows[pairs[crossed, 1]], rng)
    return history.space.mutate_rows(children, rng, mutation), pairs[:, 0].astype(np.intp)
