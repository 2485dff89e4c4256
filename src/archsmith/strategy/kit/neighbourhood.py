"""Neighbourhoods of known designs, and what of them is still untried."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from archsmith.architecture import Proposal
from archsmith.strategy.kit.first_designs import random_first
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import usable
from archsmith.strategy.kit.options import whole
from archsmith.strategy.kit.variation import Rows


class Vicinity:
    """The untried neighbours of known designs; each neighbourhood is listed once and then only shrinks.

    Args:
        history: what is known.
        initial: random designs before the first neighbours.
        rng: the order in which neighbours are tried.

    Raises:
        InvalidOption: for an option outside its range.
    """

    def __init__(self, history: RowHistory, initial: int, rng: np.random.Generator) -> None:
        self._initial = whole("initial", initial, least=1)
        self._history = history
        self._rng = rng
        self._left: dict[int, Rows] = {}

    def ask(self, n: int, near: Callable[[int], list[Proposal]]) -> list[Proposal]:
        """Up to ``n`` new proposals: random ones first, then what ``near`` proposes, then random ones for the rest."""
        if n <= 0:
            return []
        history = self._history
        proposals = random_first(history, n, self._initial, self._rng, ready=True)
        if len(proposals) < n and len(usable(history)):
            proposals += near(n - len(proposals))
        return proposals + history.propose(history.fresh(n - len(proposals), self._rng))

    def untried(self, place: int) -> Rows:
        """The neighbours ``(k, d)`` of the design at ``place`` in the history that are neither told nor open.

        They come in a random order that is drawn once.
        """
        left = self._left.get(place)
        if left is None:
            left = self._history.space.neighbour_rows(self._history.rows[place])
            left = left[self._rng.permutation(len(left))]
        if len(left):
            left = left[self._history.is_new(left)]
        self._left[place] = left
        return left
