"""From simple to complex designs, drawn by what a predictor promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.encoding.base import Encoding
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.predictor import normal_scores
from archsmith.predictor.base import Predictor
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.first_designs import LEAST_FITTED
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.pick_queue import PickQueue
from archsmith.strategy.kit.predicted_search import Predicted
from archsmith.strategy.kit.variation import Rows, best_first

LARGEST_TEMPERATURE = 100
PASSES = 2
"""Passes in vain, from the simplest to the most complex, before random designs are asked for."""


class Epnas(Strategy):
    r"""EPNAS: progressive search whose predictor gives sampling probabilities instead of a top-k.

    A pass goes from simple designs to complex ones in ``stages``. In each, the picks of the stage before are expanded,
    a predictor orders the expansions, and ``picks`` of them are drawn without replacement with probabilities
    :math:`\propto \exp(z / T)`, where :math:`z` is the normal score of an expansion's place in that order: at
    :math:`T = 0` this is the greedy top-k of progressive search. After the last stage the next pass begins, with
    everything learnt so far and a temperature lower by ``cooling``.

    Departures from Perez-Rua et al. 2018:

    * their complexity is the number of blocks of a cell, which a space of choices does not know. Here it is
      the number of active choices that are not at their first option (of the simplest valid design, where that is
      forbidden); an expansion moves ``choices / stages`` further ones at random;
    * probabilities come from ranks, so that units and outliers do not matter and several objectives can be ordered: by
      non-dominated fronts of the predictions, then by crowding; what is predicted to break a limit comes last;
    * weights are not shared between designs: what an evaluation trains is the evaluator's business.

    Args:
        space: a space of choices.
        objectives: any number, one predictor each.
        limits: feasible designs come before all others; one predictor each.
        rng: the only source of randomness.
        picks: measured in each stage.
        stages: of a pass; more than there are choices counts as one a choice.
        pool: expansions that are ordered in each stage.
        temperature: of the first pass; 0 is greedy, and large values ignore the predictor.
        cooling: factor of the temperature from one pass to the next.
        predictor: a method of the role ``predictor``, or an instance.
        encoding: what it reads, a method of the role ``encoding`` or an instance.
        free: another encoding beside it, of values that cost nothing.

    Raises:
        InvalidOption: for an option outside its range.
        UnknownName: for an unknown predictor or encoding.
    """

    paper = Paper(
        authors="Perez-Rua, Juan-Manuel and Baccouche, Moez and Pateux, Stephane",
        title="Efficient Progressive Neural Architecture Search",
        year=2018,
        venue="BMVC",
        arxiv="1808.00391",
    )
    handles: ClassVar[Handles] = Handles(rows=True)

    def __init__(  # noqa: PLR0913 - its options
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        picks: int = 8,
        stages: int = 6,
        pool: int = 500,
        temperature: float = 0.5,
        cooling: float = 0.8,
        predictor: str | Predictor = "gaussian_process",
        encoding: str | Encoding = "one_hot",
        free: Encoding | None = None,
    ) -> None:
        self._picks = whole("picks", picks, least=1)
        self._stages = min(whole("stages", stages, least=1), len(space.choices))
        self._pool = whole("pool", pool, least=1)
        self._temperature = number("temperature", temperature, most=LARGEST_TEMPERATURE)
        self._cooling = number("cooling", cooling, most=1)
        self._history = RowHistory(space, objectives, limits)
        self._predicted = Predicted(self._history, predictor, encoding, free)
        self._space = space
        self._rng = rng
        self._simplest = space.rows([space.smallest()])
        self._parents = self._simplest
        self._stage = 0
        self._queue = PickQueue(self._history, self._simplest)

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: the simplest design, then what the stages draw."""
        return self._queue.propose(n, lambda _: self._next_picks())

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones teach where failures are likely."""
        self._history.tell(evaluations)

    def _next_picks(self) -> list[Rows]:
        """The picks of the next stage that has any; none only where the space is used up."""
        for _ in range(PASSES * self._stages):
            if self._stage % self._stages == 0:
                self._parents = self._simplest
            heat = self._temperature * self._cooling ** (self._stage // self._stages)
            grown = self._expansions()
            fresh = grown[self._history.is_new(grown)]
            self._stage += 1
            picked = self._drawn(fresh, heat)
            # Where all expansions are known already, the pass goes on from the best of those.
            self._parents = picked if len(picked) else self._known_best(grown)
            if len(picked):
                return list(picked)
        return list(self._history.fresh_rows(self._picks, self._rng))

    def _expansions(self) -> Rows:
        """Designs that are more complex than the parents by one stage, each once, ``(k, d)``."""
        growth = -(-len(self._space.choices) // self._stages)
        rows = self._parents[self._rng.integers(len(self._parents), size=self._pool)].copy()
        for _ in range(growth):
            settled = (rows != self._simplest) | ~self._space.active(rows) | (self._space.cardinalities == 1)
            keys = np.where(settled, -1.0, self._rng.random(rows.shape))
            column = keys.argmax(axis=1)
            moved = rows.copy()
            lines = np.arange(len(rows))
            steps = self._rng.integers(1, np.maximum(2, self._space.cardinalities[column]))
            moved[lines, column] = (rows[lines, column] + steps) % self._space.cardinalities[column]
            moved = self._space.canonical_rows(moved)
            grows = (keys.max(axis=1) >= 0) & self._space.valid(moved)
            rows = np.where(grows[:, None], moved, rows)
        return np.unique(rows, axis=0)

    def _drawn(self, rows: Rows, heat: float) -> Rows:
        """Up to ``picks`` of ``rows (k, d)``, drawn without replacement by the softmax of their predicted place."""
        if not len(rows):
            return rows
        if self._predicted.usable < LEAST_FITTED:
            return rows[self._rng.permutation(len(rows))[: self._picks]]
        costs, violations = self._predicted.fitted().predict(rows)
        order = best_first(costs, violations, len(rows))
        # The largest of logits with Gumbel noise are a draw without replacement from their softmax.
        logits = -normal_scores(np.arange(float(len(rows)))) + heat * self._rng.gumbel(size=len(rows))
        return rows[order[np.argsort(-logits, kind="stable")[: self._picks]]]

    def _known_best(self, rows: Rows) -> Rows:
        """The best measured of ``rows``, to go on from; the parents as they are where none of them was measured."""
        met = {row.tobytes() for row in rows}
        history = self._history
        known = [
            i for i, row in enumerate(history.rows) if row.tobytes() in met and np.isfinite(history.costs[i]).all()
        ]
        if not known:
            return self._parents
        order = best_first(history.costs[known], history.violations[known], self._picks)
        best: Rows = history.rows[np.array(known)[order]]
        return best
