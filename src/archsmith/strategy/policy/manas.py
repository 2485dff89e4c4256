"""One bandit a choice, all of them paid by the loss that they cause together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.first_designs import random_first
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.policy import RIDGE, draw_new, draw_weights, one_hot_blocks, rewards
from archsmith.strategy.kit.variation import Floats, Rows

Credit = Literal["least_squares", "exp3"]
PLAY_ROUNDS = 20
"""Rounds of draws, each from flatter policies than the one before, until a design is new."""


class Manas(Strategy):
    r"""MANAS: an agent a choice draws its option from weights that the shared loss moves; joint play is the search.

    Each agent keeps an estimate :math:`\hat L_k` of what each of its options would have cost in all and draws option
    ``k`` with probability proportional to :math:`\exp(-\eta \hat L_k)`, mixed with ``exploration`` of uniform draws.
    Two ways to share the credit of one loss among the agents: ``"exp3"`` divides it by the probability with which the
    option was drawn (the adversarial bandit of Auer et al. 2002), ``"least_squares"`` explains all losses as a sum of
    one number an option, which takes the other agents' doings out of the estimate.

    Departures from Carlucci et al. 2019:

    * The loss is one evaluation of a whole architecture, not a minibatch of a supernet that is trained meanwhile; with
      an evaluator on a supernet it is the one-shot accuracy.
    * Losses are ranks among everything told (0 best, 1 worst), feasible designs first; with several objectives ranks
      under random weights, drawn for each proposal and applied to the whole history, so that the estimates are always
      those of one loss. They are summed anew each time: known evaluations are a warm start and results may come in any
      order. What was not asked here counts as drawn uniformly.
    * The learning rate is the one that the regret bound asks for after ``t`` rounds, times ``rate``; no horizon is
      needed.
    * No architecture is asked twice: agents draw again, from flatter and flatter weights. Agents of inactive choices do
      not play that round.

    Args:
        space: a space of choices.
        objectives: any number.
        limits: feasible designs lose less than all others.
        rng: the only source of randomness.
        credit: ``"least_squares"`` or ``"exp3"``.
        rate: multiplies the learning rate.
        exploration: probability with which an agent draws uniformly.
        initial: evaluations, random ones, before the agents play.

    Raises:
        InvalidOption: for an option outside its range.
    """

    paper = Paper(
        authors="Carlucci, Fabio Maria and Esperança, Pedro M. and Singh, Marco and Yang, Antoine and Gabillon, Victor "
        "and Xu, Hang and Chen, Zewei and Wang, Jun",
        title="MANAS: Multi-Agent Neural Architecture Search",
        year=2019,
        arxiv="1909.01051",
    )
    handles: ClassVar[Handles] = Handles(rows=True)

    def __init__(
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        credit: Credit = "least_squares",
        rate: float = 1.0,
        exploration: float = 0.05,
        initial: int = 10,
    ) -> None:
        if credit not in get_args(Credit):
            raise InvalidOption(f"credit={credit!r} is not one of {', '.join(get_args(Credit))}")
        self._credit = credit
        self._rate = number("rate", rate, most=1000)
        self._exploration = number("exploration", exploration, most=1)
        self._initial = whole("initial", initial, least=1)
        self._history = RowHistory(space, objectives, limits)
        self._space = space
        self._rng = rng
        self._starts = one_hot_blocks(space)
        self._choice = np.repeat(np.arange(len(space.choices)), space.cardinalities)  # whose option each place is
        self._chances: dict[str, Floats] = {}  # with which each agent drew what it drew, by architecture

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random until ``initial`` are known, then one from each round of play."""
        if n <= 0:
            return []
        ready = len(self._history.rows) > 0
        proposals = random_first(self._history, n, self._initial, self._rng, ready=ready)
        while ready and len(proposals) < n:
            policy = self._policy()
            row = self._drawn(policy)
            if not len(row):
                break
            new = self._history.propose(self._space.architectures(row))
            self._chances[new[0].architecture.key] = policy[self._places(row)[0]]
            proposals += new
        return proposals

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones lose most."""
        self._history.tell(evaluations)

    def _policy(self) -> Floats:
        """With which probability each option is drawn by its agent, all options in one row."""
        history = self._history
        weights = draw_weights(len(history.objectives), self._rng)
        losses = 1.0 - rewards(history.costs, history.violations, weights)
        played = np.zeros((len(losses), self._starts[-1]))
        lines, columns = np.nonzero(self._space.active(history.rows))
        played[lines, self._places(history.rows)[lines, columns]] = 1.0
        totals = self._least_squares(played, losses) if self._credit == "least_squares" else self._exp3(losses)
        options = np.maximum(self._space.cardinalities, 2)[self._choice]
        rate = self._rate * np.sqrt(2 * np.log(options) / len(losses))
        if self._credit == "exp3":
            rate /= np.sqrt(options)  # its estimates vary more, by the number of options
        greedy = self._softmax(-rate * totals)
        return (1 - self._exploration) * greedy + self._exploration / self._space.cardinalities[self._choice]

    def _exp3(self, losses: Floats) -> Floats:
        """Sums of losses, each divided by the probability of the draw."""
        history = self._history
        active = self._space.active(history.rows)
        uniform = 1.0 / self._space.cardinalities
        chances = np.stack([self._chances.get(key, uniform) for key in history.keys])
        shares = np.where(active, losses[:, None] / chances, 0.0)
        places = self._places(history.rows).ravel()
        return np.asarray(np.bincount(places, weights=shares.ravel(), minlength=int(self._starts[-1])), dtype=float)

    def _least_squares(self, played: Floats, losses: Floats) -> Floats:
        """As many times as there were rounds the loss that is due to each option."""
        x = played - played.mean(axis=0)
        gram = x.T @ x + RIDGE * np.eye(x.shape[1])
        return np.asarray(len(losses) * np.linalg.solve(gram, x.T @ (losses - losses.mean())))

    def _drawn(self, policy: Floats) -> Rows:
        """One new row that the agents draw, none where the space is used up."""
        warmth = 1.0

        def draw() -> Rows:
            nonlocal warmth
            flat = self._softmax(np.log(policy + 1e-12) / warmth)
            warmth *= 1.2
            keys = np.log(flat + 1e-300) + self._rng.gumbel(size=(16, len(flat)))
            return np.stack([np.argmax(keys[:, a:b], axis=1) for a, b in self._blocks()], axis=1).astype(np.int16)

        return draw_new(self._history, self._space, draw, 1, tries=PLAY_ROUNDS, rng=self._rng)

    def _softmax(self, scores: Floats) -> Floats:
        """Each agent's own, over the options of its choice."""
        top = np.maximum.reduceat(scores, self._starts[:-1])
        raised = np.exp(scores - top[self._choice])
        return np.asarray(raised / np.add.reduceat(raised, self._starts[:-1])[self._choice])

    def _blocks(self) -> list[tuple[int, int]]:
        return [(int(a), int(b)) for a, b in zip(self._starts[:-1], self._starts[1:], strict=True)]

    def _places(self, rows: Rows) -> NDArray[np.intp]:
        """Where the options of ``rows (n, d)`` lie among all, ``(n, d)``."""
        return rows.astype(np.intp) + self._starts[:-1]
