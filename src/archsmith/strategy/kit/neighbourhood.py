"""Neighbourhoods of known designs, and what of them is still untried."""

from __future__ import annotations

import numpy as np

from archsmith.strategy.kit.history import RowLedger
from archsmith.strategy.kit.variation import Rows


class Vicinity:
    """The untried neighbours of known designs; each neighbourhood is listed once and then only shrinks.

    Args:
        ledger: what is known.
        rng: the order in which neighbours are tried.
    """

    def __init__(self, ledger: RowLedger, rng: np.random.Generator) -> None:
        self._ledger = ledger
        self._rng = rng
        self._left: dict[int, Rows] = {}

    def untried(self, place: int) -> Rows:
        """The neighbours ``(k, d)`` of the design at ``place`` in the ledger that are neither told nor open.

        They come in a random order that is drawn once.
        """
        left = self._left.get(place)
        if left is None:
            left = self._ledger.space.neighbour_rows(self._ledger.rows[place])
            left = left[self._rng.permutation(len(left))]
        if len(left):
            left = left[self._ledger.is_new(left)]
        self._left[place] = left
        return left
