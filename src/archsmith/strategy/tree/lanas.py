"""Tree search on a partition of the space that is learnt from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Proposal
from archsmith.encoding.one_hot import OneHot
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.first_designs import random_first
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.policy import RIDGE, draw_weights, rewards
from archsmith.strategy.kit.variation import Floats, Rows


class LaNas(Strategy):
    """LaNAS: linear models split the space into good and bad regions, confidence bounds choose the one to sample.

    Everything told is the root. A linear model of the reward on one-hot choices splits a node into the designs that it
    predicts above and below the node's mean reward; each half is split again by a model of its own. The walk goes to
    the half of the larger mean reward plus ``exploration`` times ``sqrt(2 log(visits of the node) / visits of the
    half)``, and the next design is drawn at random in the region of the leaf: where all models on the way agree.

    Departures from Wang et al. 2021:

    * The tree is grown anew for each proposal, and only along the way that is walked: it never lags behind what is
      known, known evaluations are a warm start, and results may come in any order; open designs count as visits.
    * The reward is the rank among everything told, feasible designs first; with several objectives the rank under
      random weights, drawn for each proposal, so that the splits follow different parts of the front in turn.
    * Rejection from random designs finds few in a deep region, so mutants of the leaf's own designs are candidates
      as well; where none lies in the region, the one that satisfies most of the way is taken.
    * A ridge penalty in place of plain least squares. Weight sharing is the evaluator's business: a supernet's accuracy
      is an evaluation like any other.

    Args:
        space: a space of choices.
        objectives: any number.
        limits: feasible designs are better than all others.
        rng: the only source of randomness.
        initial: evaluations, random ones, before the first split.
        height: splits on the way to a leaf at most.
        leaf: designs below which a node is not split.
        exploration: weight of the confidence bound; 0 is greedy.
        candidates: designs drawn to find one in the leaf: half random, half mutants.

    Raises:
        InvalidOption: for an option outside its range.
    """

    paper = Paper(
        authors="Wang, Linnan and Xie, Saining and Li, Teng and Fonseca, Rodrigo and Tian, Yuandong",
        title="Sample-Efficient Neural Architecture Search by Learning Action Space",
        year=2021,
        venue="IEEE Transactions on Pattern Analysis and Machine Intelligence",
        arxiv="1906.06832",
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
        height: int = 6,
        leaf: int = 8,
        exploration: float = 0.1,
        candidates: int = 200,
    ) -> None:
        self._initial = whole("initial", initial, least=2)
        self._height = whole("height", height, least=1, most=50)
        self._leaf = whole("leaf", leaf, least=2)
        self._exploration = number("exploration", exploration, most=10)
        self._candidates = whole("candidates", candidates, least=2, most=10**5)
        self._history = RowHistory(space, objectives, limits)
        self._encoding = OneHot(space)
        self._space = space
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random until ``initial`` are known, then one from each walk."""
        if n <= 0:
            return []
        ready = len(self._history.rows) > 0
        proposals = random_first(self._history, n, self._initial, self._rng, ready=ready)
        while ready and len(proposals) < n:
            row = self._sampled()
            if not len(row):
                break
            proposals += self._history.propose(self._space.architectures(row))
        return proposals

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones have the lowest reward."""
        self._history.tell(evaluations)

    def _sampled(self) -> Rows:
        """One new row of the leaf that a walk ends in; none where the space is used up."""
        history, rng = self._history, self._rng
        weights = draw_weights(len(history.objectives), rng)
        reward = rewards(history.costs, history.violations, weights)
        members, way = self._walk(reward)
        parents = np.concatenate([history.rows[members], history.rows[[int(np.argmax(reward))]]])
        half = self._candidates // 2
        mutants = self._space.mutate_rows(parents[rng.integers(len(parents), size=self._candidates - half)], rng)
        rows = np.concatenate([self._space.sample_rows(half, rng), mutants])
        rows = rows[history.is_new(rows)]
        if not len(rows):
            return history.fresh_rows(1, rng)
        x = self._vectors(rows)
        inside = np.ones(len(rows), dtype=bool)
        for model in way:
            further = inside & (x @ model >= 0)
            if not further.any():
                break
            inside = further
        return rows[[rng.choice(np.flatnonzero(inside))]]

    def _walk(self, reward: Floats) -> tuple[NDArray[np.intp], list[Floats]]:
        """What was told in the leaf that the walk ends in, and the models that lead there: in it all are positive."""
        told = self._vectors(self._history.rows)
        opened = self._vectors(self._space.rows(list(self._history.open.values())))
        members, pending, way = np.arange(len(told)), np.arange(len(opened)), list[Floats]()
        for _ in range(self._height):
            if len(members) < 2 * self._leaf or np.ptp(reward[members]) == 0:
                break
            model = _split(told[members], reward[members])
            good, waiting = told[members] @ model >= 0, opened[pending] @ model >= 0
            if good.all() or not good.any():
                break
            sides = [(members[side], pending[there]) for side, there in ((good, waiting), (~good, ~waiting))]
            visits = len(members) + len(pending)
            bounds = [
                reward[m].mean() + self._exploration * np.sqrt(2 * np.log(visits) / (len(m) + len(p))) for m, p in sides
            ]
            chosen = int(np.argmax(bounds))
            members, pending = sides[chosen]
            way.append(-model if chosen else model)
        return members, way

    def _vectors(self, rows: Rows) -> Floats:
        """One-hot choices and a constant, ``(n, d + 1)``."""
        return np.concatenate([self._encoding.encode(rows).astype(float), np.ones((len(rows), 1))], axis=1)


def _split(x: Floats, reward: Floats) -> Floats:
    """The linear model of how far a design's reward lies above the mean of its node, ``(d + 1,)``."""
    penalty = np.full(x.shape[1], RIDGE)
    penalty[-1] = 1e-9  # the constant is free
    return np.asarray(np.linalg.solve(x.T @ x + np.diag(penalty), x.T @ (reward - reward.mean())))
