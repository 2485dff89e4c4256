"""Weak predictors in sequence, each only good enough to halve what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.encoding.base import Encoding
from archsmith.errors import InvalidOption
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.predictor.base import Predictor
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.predicted_search import PoolSearch, Predicted
from archsmith.strategy.kit.variation import Rows


class Weaknas(Strategy):
    """WeakNAS: weak predictors in sequence, each drawn from at random in its shrinking list of the best.

    After ``initial`` random designs, over and over: fit a weak predictor on everything measured, rank a pool, and
    measure ``picks`` designs drawn at random from the best ``top`` of it. The predictor need not order the whole
    space: each one only moves the sampling towards better designs, and the next one learns from there. The list
    shrinks with every round, from exploring to exploiting.

    Departures from Wu et al. 2021:

    * the list shrinks by ``shrink`` a round, down to ``picks``; the paper keeps its length and lets the
      better predictors narrow it;
    * the pool is drawn at random, with the neighbours of the best measured designs, where the paper ranks a whole
      table (and, on large spaces, mutants only);
    * several objectives: ranked by non-dominated fronts of the predicted costs, then by crowding; designs that are
      predicted to break a limit, or to fail, come last.

    Args:
        space: a space of choices.
        objectives: any number, one predictor each.
        limits: feasible designs come before all others; one predictor each.
        rng: the only source of randomness.
        initial: random designs before the first fit.
        picks: measured between two fits.
        pool: random designs that are ranked.
        top: share of the pool that the first picks are drawn from.
        shrink: factor of that share from one round to the next; a round is ``picks`` evaluations.
        predictor: a method of the role ``predictor``, or an instance; light ones such as ``ridge``,
            ``random_forest`` and ``mlp_ensemble`` are what the idea is about.
        encoding: what it reads, a method of the role ``encoding`` or an instance.
        free: another encoding beside it, of values that cost nothing.

    Raises:
        InvalidOption: for an option outside its range.
        MissingExtra: without PyTorch, for the default predictor.
        UnknownName: for an unknown predictor or encoding.
    """

    paper = Paper(
        authors="Wu, Junru and Dai, Xiyang and Chen, Dongdong and Chen, Yinpeng and Liu, Mengchen and Yu, Ye and "
        "Wang, Zhangyang and Liu, Zicheng and Chen, Mei and Yuan, Lu",
        title="Stronger NAS with Weaker Predictors",
        year=2021,
        venue="NeurIPS",
        arxiv="2102.10490",
    )
    handles: ClassVar[Handles] = Handles(rows=True)

    def __init__(  # noqa: PLR0913 - its options
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        initial: int = 20,
        picks: int = 10,
        pool: int = 2000,
        top: float = 0.1,
        shrink: float = 0.8,
        predictor: str | Predictor = "mlp_ensemble",
        encoding: str | Encoding = "one_hot",
        free: Encoding | None = None,
    ) -> None:
        self._history = RowHistory(space, objectives, limits)
        predicted = Predicted(self._history, predictor, encoding, free)
        self._picks = whole("picks", picks, least=1)
        self._search = PoolSearch(self._history, predicted, initial=initial, picks=self._picks, pool=pool, rng=rng)
        self._initial, self._pool = initial, pool
        self._top = number("top", top, most=1)
        self._shrink = number("shrink", shrink, most=1)
        if not self._top or not self._shrink:
            raise InvalidOption("top and shrink are shares above 0; a list of nothing has nothing to draw from")
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random ones first, then draws from the best of the ranked pool."""
        return self._search.ask(n, self._drawn)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones teach where failures are likely."""
        self._history.tell(evaluations)

    def _length(self) -> int:
        """Of the list that is drawn from: a function of what was told, so that a resumed search goes on with it."""
        rounds = max(0, len(self._history.told) - self._initial) // self._picks
        return int(self._pool * self._top * self._shrink**rounds)

    def _drawn(self, n: int) -> list[Rows]:
        """Up to ``n`` new rows; none only where the space is used up."""
        best = self._search.best(max(n, self._length()))
        return list(best[self._rng.permutation(len(best))[:n]])
