"""Designs that are measured before anything can be learnt."""

from __future__ import annotations

import math

import numpy as np

from archsmith.architecture import Proposal
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import usable
from archsmith.strategy.kit.variation import Rows

LEAST_FITTED = 3
"""Successful evaluations without which nothing is fitted."""
EVEN_SHARE = 0.5
"""Share of the first designs at most that have the same relative option everywhere."""


def random_first(history: RowHistory, n: int, initial: int, rng: np.random.Generator, *, ready: bool) -> list[Proposal]:
    """Random proposals until ``initial`` are known or open; ``n`` of them as long as the method is not ``ready``."""
    known = len(history.told) + len(history.open)
    first = min(n, initial - known) if ready else n
    return history.propose(history.fresh(first, rng)) if first > 0 else []


def missing_first(history: RowHistory, n: int, initial: int) -> int:
    """How many of ``n`` proposals are first designs, so that ``initial`` succeed; none where it is not positive."""
    known = len(usable(history))
    return n if known < LEAST_FITTED else min(n, initial - known - len(history.open))


def even_first(history: RowHistory, n: int, initial: int, rng: np.random.Generator) -> list[Proposal]:
    """Proposals of the first designs that are missing: :func:`even_designs`, then random ones; up to ``n``."""
    missing = missing_first(history, n, initial)
    if missing <= 0:
        return []
    rows = even_designs(history, initial)[:missing]
    proposals = history.propose(history.space.architectures(rows))
    return proposals + history.propose(history.fresh(missing - len(proposals), rng))


def even_designs(history: RowHistory, initial: int) -> Rows:
    """New designs with the same relative option in every choice, ``(k, d)``: the corners of many spaces among them.

    From all first to all last options, as many steps as the longest choice has, and at most about ``EVEN_SHARE`` of
    ``initial``. Choices of several owners, such as widths and precisions, stand at levels of their own: every level of
    the first owner's with both ends of the others'.
    """
    space = history.space
    most = space.cardinalities.astype(int) - 1
    owners = list(dict.fromkeys(choice.owner for choice in space.choices))
    of = np.array([owners.index(choice.owner) for choice in space.choices])
    steps = max(2, min(int(most[of == 0].max()) + 1, math.ceil(EVEN_SHARE * initial / 2 ** (len(owners) - 1))))
    ends = [np.linspace(0, 1, steps), *[np.array([0.0, 1.0])] * (len(owners) - 1)]
    levels = np.stack([level.ravel() for level in np.meshgrid(*ends, indexing="ij")], axis=1)[:, of]
    rows = space.canonical_rows(np.rint(levels * most).astype(np.int16))
    return rows[space.valid(rows) & history.is_new(rows)]
