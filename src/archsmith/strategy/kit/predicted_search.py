"""What searches that measure the best of many predictions have in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from archsmith.architecture import Proposal
from archsmith.encoding.base import Encoding
from archsmith.predictor.base import Predictor
from archsmith.strategy.kit.first_designs import LEAST_FITTED, missing_first
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.inputs import encoding_of, maker
from archsmith.strategy.kit.observations import usable
from archsmith.strategy.kit.options import whole
from archsmith.strategy.kit.pick_queue import PickQueue
from archsmith.strategy.kit.predictions import Predictions
from archsmith.strategy.kit.scales import VIEWS
from archsmith.strategy.kit.variation import Rows, best_first

NEIGHBOURED = 8
"""Measured designs, the best, whose neighbours are looked at."""


class Predicted:
    """Predictors of everything in a history, fitted when they are asked.

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

    @property
    def usable(self) -> int:
        """Evaluations that succeeded."""
        return len(usable(self._history))

    def fitted(self) -> Predictions:
        """On order alone (normal scores), so that outliers do not rule; needs ``LEAST_FITTED`` evaluations."""
        return Predictions.fitted(self._history, self._encoding, self._make, view=VIEWS[0], free=self._free)


class PoolSearch:
    """Random designs, then over and over: predictors of all that is known, and picks of a pool that they rank.

    Args:
        history: of the search.
        predicted: its predictors.
        initial: evaluations before the first fit.
        picks: between two fits, at least.
        pool: random designs that are ranked.
        rng: the only source of randomness.

    Raises:
        InvalidOption: for an option outside its range.
    """

    def __init__(
        self,
        history: RowHistory,
        predicted: Predicted,
        *,
        initial: int,
        picks: int,
        pool: int,
        rng: np.random.Generator,
    ) -> None:
        self._initial = whole("initial", initial, least=LEAST_FITTED)
        self._pool = whole("pool", pool, least=1)
        self._history, self._predicted, self._picks, self._rng = history, predicted, picks, rng
        self._queue = PickQueue(history)

    def ask(self, n: int, pick: Callable[[int], list[Rows]]) -> list[Proposal]:
        """Up to ``n`` new proposals: random ones until ``initial`` are known, then what ``pick`` gives.

        Args:
            n: how many.
            pick: gives up to as many new rows as it is asked for; none ends the search.
        """
        history = self._history
        first = missing_first(history, n, self._initial)
        proposals = history.propose(history.fresh(first, self._rng)) if first > 0 else []
        if self._predicted.usable < LEAST_FITTED:
            return proposals
        return proposals + self._queue.propose(n - len(proposals), lambda k: pick(max(self._picks, k)))

    def best(self, n: int) -> Rows:
        """The best ``n`` new rows of a pool as predicted, ``(k, d)``; none only where the space is used up.

        By front, then by crowding, feasible ones first. The pool is random rows and neighbours of the best measured
        ones; where all of them are known, any that are new.
        """
        predictions, history = self._predicted.fitted(), self._history
        best = predictions.rows[best_first(predictions.costs, predictions.violations, NEIGHBOURED)]
        near = [history.space.neighbour_rows(row) for row in best]
        rows = np.concatenate([*near, history.space.sample_rows(self._pool, self._rng)])
        rows = rows[history.is_new(rows)]
        rows = rows if len(rows) else history.fresh_rows(NEIGHBOURED, self._rng)
        return rows[best_first(*predictions.predict(rows), n)] if len(rows) else rows
