"""Neighbourhoods of known designs, and what of them is still untried."""

from __future__ import annotations

import numpy as np

from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.variation import Rows


class Vicinity:
    """The untried neighbours of known designs; each neighbourhood is listed once and then only shrinks.

    Args:
        history: what is known.
        rng: the order in which neighbours are tried.
    """

    def __init__(self, history: RowHistory, rng: np.random.Generator) -> None:
        self._history = history
        self._rng = rng
        self._left: dict[int, Rows] = {}

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
