"""Sample, fit, measure the best: the predictor search in three steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.encoding.base import Encoding
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.predictor.base import Predictor
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.options import whole
from archsmith.strategy.kit.predicted_search import PoolSearch, Predicted


class NeuralPredictor(Strategy):
    """Three steps: measure random designs, fit a network on them, measure the best of what it predicts for many.

    ``initial`` random designs are measured, a predictor is fitted, and the best ``top`` of a large pool are measured.

    Departures from Wen et al. 2020:

    * it does not end there: after each ``top`` measurements the predictor is fitted again on all of them and another
      pool is ranked, until the budget or the space is used up. With ``top`` as large as the rest of the budget
      it is the paper's;
    * an ensemble of perceptrons with a ranking loss on an encoding; the paper's network is a graph convolution,
      preceded by a classifier that discards the worst designs. Costs are learnt by rank, which does
      the classifier's work;
    * the pool holds the neighbours of the best measured designs beside random ones;
    * several objectives: the pool is sorted by non-dominated fronts of the predicted costs, then by crowding; designs
      that are predicted to break a limit, or to fail, come last.

    Args:
        space: a space of choices.
        objectives: any number, one predictor each.
        limits: feasible designs come before all others; one predictor each.
        rng: the only source of randomness.
        initial: random designs before the first fit (N of the paper).
        top: measured between two fits (K of the paper).
        pool: random designs that are ranked.
        predictor: a method of the role ``predictor``, or an instance, which may have learnt something before.
        encoding: what it reads, a method of the role ``encoding`` or an instance.
        free: another encoding beside it, of values that cost nothing.

    Raises:
        InvalidOption: for an option outside its range.
        MissingExtra: without PyTorch, for the default predictor.
        UnknownName: for an unknown predictor or encoding.
    """

    paper = Paper(
        authors="Wen, Wei and Liu, Hanxiao and Chen, Yiran and Li, Hai and Bender, Gabriel and Kindermans, Pieter-Jan",
        title="Neural Predictor for Neural Architecture Search",
        year=2020,
        venue="ECCV",
        arxiv="1912.00848",
    )
    handles: ClassVar[Handles] = Handles(rows=True)

    def __init__(  # noqa: PLR0913 - its options
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        initial: int = 30,
        top: int = 15,
        pool: int = 2000,
        predictor: str | Predictor = "mlp_ensemble",
        encoding: str | Encoding = "one_hot",
        free: Encoding | None = None,
    ) -> None:
        self._history = RowHistory(space, objectives, limits)
        predicted = Predicted(self._history, predictor, encoding, free)
        picks = whole("top", top, least=1)
        self._search = PoolSearch(self._history, predicted, initial=initial, picks=picks, pool=pool, rng=rng)

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random ones first, then the best of the ranked pool."""
        return self._search.ask(n, lambda wanted: list(self._search.best(wanted)))

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones teach where failures are likely."""
        self._history.tell(evaluations)
