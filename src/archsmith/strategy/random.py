"""The baseline that every other strategy has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.space.base import Space
from archsmith.strategy.base import Handles
from archsmith.strategy.kit.history import History
from archsmith.strategy.kit.recalling import RecallingHistory


class RandomSearch(RecallingHistory):
    """Independent random draws from the space, never the same architecture twice.

    Draws are uniform per choice, as the space samples; limits and results change nothing, which is what makes it the
    honest baseline. A space that is used up ends the search.

    Args:
        space: any search space.
        objectives: kept for the record only.
        limits: kept for the record only.
        rng: the only source of randomness.
    """

    paper = Paper(
        authors="Li, Liam and Talwalkar, Ameet",
        title="Random Search and Reproducibility for Neural Architecture Search",
        year=2019,
        venue="UAI",
        arxiv="1902.07638",
    )
    handles: ClassVar[Handles] = Handles()

    def __init__(
        self, space: Space, objectives: Sequence[Objective], limits: Sequence[Limit] = (), *, rng: np.random.Generator
    ) -> None:
        self._history = History(space, objectives, limits)
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new random proposals; fewer once the space is used up."""
        return self._history.propose(self._history.fresh(n, self._rng)) if n > 0 else []
