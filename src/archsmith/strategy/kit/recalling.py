"""Strategies that stand where their history and their generator stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.strategy.base import Recalling
from archsmith.strategy.kit.history import History


class RecallingHistory(Recalling):
    """Keeps nothing between two calls but its history and its generator, which its constructor sets."""

    _history: History
    _rng: np.random.Generator

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Note evaluations; failed ones only prevent a repetition."""
        self._history.tell(evaluations)

    @property
    def generator(self) -> np.random.Generator:
        """The only source of randomness."""
        return self._rng

    def recall(self, n: int, given: Sequence[Proposal]) -> None:  # noqa: ARG002 - what was given is enough
        """Note what was proposed."""
        self._history.recall(given)
