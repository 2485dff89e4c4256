"""A recurrent controller that writes architectures and is trained by their rewards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.predictor import mid_ranks
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.controller import Controller
from archsmith.strategy.kit.first_designs import random_first
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.policy import draw_new, draw_weights, rewards_at
from archsmith.strategy.kit.variation import Floats, Rows

DRAW_ROUNDS = 12
"""Rounds of draws, each warmer than the one before, until a design is new."""
DRAWS_A_ROUND = 8
BASELINE_DECAY = 0.9
"""Of the moving baseline, an evaluation."""


class Reinforce(Strategy):
    """REINFORCE with an LSTM controller, a moving baseline, an entropy bonus, and an audit of what it remembers.

    The controller draws the choices in order, each given those before. After each ``tell`` one step of policy gradient
    makes what was better than the moving average of rewards more likely.

    The *audit* (Adam and Lorraine 2019, arXiv 1904.00438) asks whether the controller's hidden state knows what it has
    written: see :meth:`audit`. Their remedy is a memory: with ``replay`` above 0 as many earlier designs, drawn at
    random, are part of each step, and a linear layer must be able to read their options off the last hidden state.

    Departures from Zoph and Le 2017:

    * Each ``tell`` is one step, in any order, in place of batches from parallel replicas; every told design is learnt
      from, also those that were not asked here, and none is reweighted by how likely it is by now.
    * The reward is the rank among everything told, feasible designs first. With several objectives it is the rank under
      random weights; the controller reads the weights first, so that one network learns the whole front.
    * Choices of a space in place of layers with skip connections; draws of inactive choices are no part of the
      likelihood.
    * No architecture is asked twice: it draws again, warmer and warmer; then random designs fill up.

    Args:
        space: a space of choices.
        objectives: any number.
        limits: feasible designs are better than all others.
        rng: the only source of randomness; torch's own generator is left alone.
        hidden: length of the controller's state.
        rate: step of its optimiser.
        entropy: weight of the policy's entropy beside the reward.
        replay: earlier designs that each step makes the controller remember; 0 is the plain controller.
        initial: evaluations, random ones, before the controller draws.

    Raises:
        InvalidOption: for an option outside its range.
        MissingExtra: without torch.
    """

    paper = Paper(
        authors="Zoph, Barret and Le, Quoc V.",
        title="Neural Architecture Search with Reinforcement Learning",
        year=2017,
        venue="ICLR",
        arxiv="1611.01578",
    )
    handles: ClassVar[Handles] = Handles(rows=True)

    def __init__(  # noqa: PLR0913 - its options
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        hidden: int = 32,
        rate: float = 0.01,
        entropy: float = 0.05,
        replay: int = 0,
        initial: int = 20,
    ) -> None:
        self._entropy = number("entropy", entropy, most=10)
        self._replay = whole("replay", replay, least=0, most=10**4)
        self._initial = whole("initial", initial, least=1)
        self._history = RowHistory(space, objectives, limits)
        self._space = space
        self._rng = rng
        self._controller = Controller(
            space,
            len(self._history.objectives),
            hidden=whole("hidden", hidden, least=1, most=1024),
            rate=number("rate", rate, most=1),
            rng=rng,
        )
        self._baseline = 0.5  # the mean of ranks
        self._weights: dict[str, Floats] = {}

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random until ``initial`` are known, then the controller's."""
        if n <= 0:
            return []
        ready = len(self._history.rows) > 0
        proposals = random_first(self._history, n, self._initial, self._rng, ready=ready)
        while ready and len(proposals) < n:
            weights = draw_weights(len(self._history.objectives), self._rng)
            row = self._drawn(weights)
            if not len(row):
                break
            new = self._history.propose(self._space.architectures(row))
            self._weights[new[0].architecture.key] = weights
            proposals += new
        return proposals

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations: one step of policy gradient; failed ones have the lowest reward."""
        changed = self._history.tell(evaluations)
        if changed:
            self._learn([e.architecture.key for e in changed])

    def audit(self, pairs: int = 500) -> float:
        """How much the controller's state knows of what it wrote, from -1 to 1; near 0 it knows nothing.

        Architectures are drawn at random in pairs; Spearman's rank correlation between the cosine similarity of the
        controller's last hidden states and the share of choices in which the two agree (a choice that is inactive in
        one of them is a difference). Draws from a generator of its own, so that the search goes on as if never asked.

        Raises:
            InvalidOption: for fewer than 3 pairs.
        """
        pairs = whole("pairs", pairs, least=3)
        rows = self._space.sample_rows(2 * pairs, np.random.default_rng(0))
        m = len(self._history.objectives)
        states = self._controller.states(rows, np.full((len(rows), m), 1.0 / m)).astype(float)
        active = self._space.active(rows)
        agree = ((rows[:pairs] == rows[pairs:]) & (active[:pairs] == active[pairs:])).mean(axis=1)
        states /= np.linalg.norm(states, axis=1, keepdims=True) + 1e-12
        alike = (states[:pairs] * states[pairs:]).sum(axis=1)
        if np.ptp(agree) == 0 or np.ptp(alike) == 0:
            return 0.0
        return float(np.corrcoef(mid_ranks(agree), mid_ranks(alike))[0, 1])

    def _drawn(self, weights: Floats) -> Rows:
        warmth = 1.0

        def draw() -> Rows:
            nonlocal warmth
            rows = self._controller.draw(np.tile(weights, (DRAWS_A_ROUND, 1)), self._rng, warmth)
            warmth *= 1.25
            return rows

        return draw_new(self._history, self._space, draw, 1, tries=DRAW_ROUNDS, rng=self._rng)

    def _learn(self, keys: Sequence[str]) -> None:
        history, rng = self._history, self._rng
        place = {key: i for i, key in enumerate(history.keys)}
        new = np.array([place[key] for key in keys])
        at = np.concatenate([new, rng.integers(len(history.keys), size=self._replay)])
        given = [self._weights.get(history.keys[i]) for i in at]
        weights = np.stack([draw_weights(len(history.objectives), rng) if w is None else w for w in given])
        reward = rewards_at(history.costs, history.violations, weights[: len(new)], new)
        self._controller.learn(
            history.rows[at], weights, reward - self._baseline, entropy=self._entropy, recalled=self._replay
        )
        for value in reward:
            self._baseline = BASELINE_DECAY * self._baseline + (1 - BASELINE_DECAY) * float(value)
