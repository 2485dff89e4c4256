"""Designs that are measured before anything can be learnt."""

from __future__ import annotations

import numpy as np

from archsmith.strategy._evolution import Rows
from archsmith.strategy._ledger import RowLedger


def even_designs(ledger: RowLedger, initial: int) -> Rows:
    """New designs with the same relative option in every choice, ``(k, d)``: the corners of many spaces among them.

    From all first to all last options, as many steps as the longest choice has, and at most half of ``initial``.
    """
    space = ledger.space
    most = space.cardinalities.astype(int) - 1
    levels = np.linspace(0, 1, max(2, min(int(most.max()) + 1, initial // 2)))
    rows = space.canonical_rows(np.rint(levels[:, None] * most).astype(np.int16))
    return rows[space.valid(rows) & ledger.is_new(rows)]
