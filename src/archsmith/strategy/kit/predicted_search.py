"""What searches that measure the best of many predictions have in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from archsmith.architecture import Proposal
from archsmith.encoding.base import Encoding
from archsmith.predictor.base import Predictor
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.inputs import encoding_of, maker
from archsmith.strategy.kit.observations import usable
from archsmith.strategy.kit.predictions import Forecast, forecast
from archsmith.strategy.kit.scales import VIEWS
from archsmith.strategy.kit.variation import Rows, best_first

ENOUGH = 3
"""Successful evaluations without which nothing is fitted."""
NEAR = 8
"""Measured designs, the best, whose neighbours are looked at."""


class Predicted:
    """Predictors of everything a history was told, fitted when they are asked; and the picks that wait to be asked.

    Args:
        history: of the search.
        predictor: a method of the role ``predictor``, or an instance.
        encoding: a method of the role ``encoding``, or an instance.
        free: values that cost nothing, read beside the encoding.

    Raises:
        UnknownName: for an unknown predictor or encoding.
    """

    def __init__(
        self, history: RowHistory, predictor: str | Predictor, encoding: str | Encoding, free: Encoding | None
    ) -> None:
        self._history = history
        self._make: Callable[[], Predictor] = maker(predictor)
        self._encoding = encoding_of(history.space, encoding)
        self._free = free
        self._queue: list[Rows] = []

    @property
    def usable(self) -> int:
        """Evaluations that succeeded."""
        return len(usable(self._history))

    def fitted(self) -> Forecast:
        """On order alone (normal scores), so that outliers do not rule; needs ``ENOUGH`` evaluations."""
        return forecast(
            self._history, self._encoding, self._make, view=VIEWS[0], optimism=0.0, caution=0.0, free=self._free
        )

    def ask(
        self, n: int, more: Callable[[int], list[Rows]], *, initial: int, picks: int, rng: np.random.Generator
    ) -> list[Proposal]:
        """Up to ``n`` new proposals: random ones until ``initial`` are known, then what ``more`` picks.

        Args:
            n: how many.
            more: gives up to as many new rows as it is asked for; none ends the search.
            initial: evaluations before the first fit.
            picks: asked of ``more`` at least.
            rng: of the random ones.
        """
        history, proposals = self._history, []
        known = self.usable
        first = n if known < ENOUGH else min(n, initial - known - len(history.open))
        if first > 0:
            proposals = history.propose(history.fresh(first, rng))
        while known >= ENOUGH and len(proposals) < n:
            self._queue = [row for row in self._queue if history.is_new(row[None])[0]]
            if not self._queue:
                self._queue = more(max(picks, n - len(proposals)))
            if not self._queue:
                break
            proposals += history.propose(history.space.architectures(self._queue.pop(0)[None]))
        return proposals

    def candidates(self, made: Forecast, n: int, rng: np.random.Generator) -> Rows:
        """``n`` random rows and neighbours of the best measured ones: those that are new, each once.

        Where all of them are known, any that are new; none only where the space is used up.
        """
        history = self._history
        best = made.rows[best_first(made.costs, made.violations, NEAR)]
        near = [history.space.neighbour_rows(row) for row in best]
        rows = np.concatenate([*near, history.space.sample_rows(n, rng)])
        rows = rows[history.is_new(rows)]
        return rows if len(rows) else history.fresh_rows(NEAR, rng)


def ranked(made: Forecast, rows: Rows, n: int) -> Rows:
    """The best ``n`` of ``rows (k, d)`` as predicted, best first: by front, then by crowding; feasible ones first."""
    if not len(rows):
        return rows
    costs, violations = made.predict(rows)
    return rows[best_first(costs, violations, n)]
