"""A policy that edits measured architectures and is punished for broken limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from archsmith.strategy.kit.editor import Editor, Step
from archsmith.strategy.kit.first_designs import random_first
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import usable
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.policy import draw_new, draw_weights, one_hot_blocks, rewards, scalarised
from archsmith.strategy.kit.variation import Floats, Rows, tournament

EDIT_ROUNDS = 6
"""Rounds of editing until one gives a new design; then random mutants, then random designs."""
PARENTS_A_ROUND = 8
"""Parents that are edited in one round; the first new design of them is asked."""


@dataclass(frozen=True)
class _Trace:
    """How a proposal came about: weights of the objectives, its parent, and the edits."""

    weights: Floats
    parent: str
    steps: list[Step]


class Rena(Strategy):
    r"""RENA: a policy network reads the architecture at hand and chooses edits; broken limits shrink the reward.

    A good architecture known so far is the one at hand. The network embeds it and draws an edit, an active choice and
    another option for it: on a ``ChoiceSpace`` that inserts, removes and scales modules, since depths, optional modules
    and widths are choices. After one or more edits the result is evaluated, and the edits are reinforced by its reward
    less that of the architecture that they began with. With quality :math:`Q` in ``[0, 1]`` and the relative excess
    :math:`v` over the limits the reward is :math:`Q\, p^{v} / 2` where one is broken and :math:`(1 + Q) / 2` elsewhere.

    Departures from Zhou et al. 2018:

    * The embedding is a hidden layer over one-hot choices, the weights of the objectives and the excess over each
      limit, in place of recurrent networks over layers; and one policy draws choice and option, in place of one that
      picks the layer and others that pick the operation and its size.
    * Episodes are one evaluation long and begin with one of the ``parents`` best known (feasible ones first; a
      tournament) in place of a fixed network: what was told counts as a warm start, results may come in any order.
    * The paper's reward is :math:`Q\, p^{v}` throughout; here what keeps the limits is worth more than what does not.
    * The quality is the rank among everything told, with several objectives under random weights that are drawn for
      each proposal and read by the network.
    * No architecture is asked twice: edits are drawn again, then mutants, then random designs.

    Args:
        space: a space of choices.
        objectives: any number.
        limits: any number; the network sees how far each is exceeded.
        rng: the only source of randomness.
        initial: evaluations, random ones, before the first edit.
        parents: how many of the best may be edited.
        edits: between two evaluations at most; each after the first with probability one half.
        penalty: ``p`` above, the factor for an excess of 100 %; 1 ignores limits in the reward, 0 gives nothing for any
            excess.
        hidden: length of the embedding.
        rate: step of the optimiser.
        entropy: weight of the policy's entropy beside the reward.
        batch: latest edited designs that each step learns from.

    Raises:
        InvalidOption: for an option outside its range.
    """

    paper = Paper(
        authors="Zhou, Yanqi and Ebrahimi, Siavash and Arik, Sercan O. and Yu, Haonan and Liu, Hairong and "
        "Diamos, Greg",
        title="Resource-Efficient Neural Architect",
        year=2018,
        arxiv="1806.07912",
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
        parents: int = 10,
        edits: int = 3,
        penalty: float = 0.01,
        hidden: int = 32,
        rate: float = 0.005,
        entropy: float = 0.05,
        batch: int = 32,
    ) -> None:
        self._initial = whole("initial", initial, least=1)
        self._parents = whole("parents", parents, least=1)
        self._edits = whole("edits", edits, least=1, most=1000)
        self._penalty = number("penalty", penalty, most=1)
        self._batch = whole("batch", batch, least=1, most=10**4)
        self._history = RowHistory(space, objectives, limits)
        self._encoding = OneHot(space)
        self._space = space
        self._rng = rng
        self._starts = one_hot_blocks(space)
        self._choice = np.repeat(np.arange(len(space.choices)), space.cardinalities)  # that an edit moves
        self._option = np.arange(self._starts[-1]) - self._starts[self._choice]  # that it moves it to
        self._editor = Editor(
            len(self._encoding.names) + len(objectives) + len(limits),
            int(self._starts[-1]),
            hidden=whole("hidden", hidden, least=1, most=4096),
            rate=number("rate", rate, most=1),
            entropy=number("entropy", entropy, most=10),
            rng=rng,
        )
        self._waiting: dict[str, _Trace] = {}
        self._learnt: list[tuple[str, _Trace]] = []

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random until ``initial`` are known, then edits of good ones."""
        if n <= 0:
            return []
        ok = usable(self._history)
        proposals = random_first(self._history, n, self._initial, self._rng, ready=ok.size > 0)
        while ok.size and len(proposals) < n:
            edited = self._edited(ok)
            if not edited:
                break
            proposals += edited
        return proposals

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations: one step of policy gradient where edited designs are among them."""
        changed = self._history.tell(evaluations)
        traces = [(e.architecture.key, self._waiting.pop(e.architecture.key, None)) for e in changed]
        if new := [(key, trace) for key, trace in traces if trace is not None]:
            self._learnt = (self._learnt + new)[-max(self._batch, len(new)) :]
            self._learn()

    def _edited(self, ok: NDArray[np.intp]) -> list[Proposal]:
        """One new proposal that the policy made of a good design; none where the space is used up."""
        history, rng = self._history, self._rng
        weights = draw_weights(len(history.objectives), rng)
        merit = rewards(history.costs[ok], history.violations[ok], weights)
        best = ok[np.argsort(-merit, kind="stable")[: self._parents]]
        for _ in range(EDIT_ROUNDS):
            at = best[tournament(len(best), PARENTS_A_ROUND, rng)]
            rows, traces = self._walked(at, weights)
            rows = self._space.canonical_rows(rows)
            for i in np.flatnonzero(history.is_new(rows) & self._space.valid(rows))[:1]:
                parent = history.keys[at[i]]
                [proposal] = history.propose(self._space.architectures(rows[[i]]), [parent])
                self._waiting[proposal.architecture.key] = _Trace(weights, parent, traces[i])
                return [proposal]
        row = draw_new(history, self._space, lambda: self._mutants(best), 1, tries=2, rng=rng)
        return history.propose(self._space.architectures(row))

    def _mutants(self, best: NDArray[np.intp]) -> Rows:
        return self._space.mutate_rows(self._history.rows[self._rng.choice(best, PARENTS_A_ROUND)], self._rng)

    def _walked(self, at: NDArray[np.intp], weights: Floats) -> tuple[Rows, list[list[Step]]]:
        """What the policy makes of the designs ``at``, and the edits of each."""
        rows = self._history.rows[at].copy()
        evaluations = [self._history.told[self._history.keys[i]] for i in at]
        excess = [[min(1.0, limit.violation(e)) for limit in self._history.limits] for e in evaluations]
        context = np.concatenate([np.tile(weights, (len(at), 1)), np.array(excess).reshape(len(at), -1)], axis=1)
        traces: list[list[Step]] = [[] for _ in at]
        going = np.ones(len(at), dtype=bool)
        for _ in range(self._edits):
            states = np.concatenate([self._encoding.encode(rows).astype(float), context], axis=1)
            allowed = self._space.active(rows)[:, self._choice] & (rows[:, self._choice] != self._option)
            going &= allowed.any(axis=1)
            chances = self._editor.probabilities(states, allowed).cumsum(axis=1)
            actions = (self._rng.random((len(at), 1)) * chances[:, -1:] >= chances).sum(axis=1)
            for i in np.flatnonzero(going):
                rows[i, self._choice[actions[i]]] = self._option[actions[i]]
                traces[i].append(Step(states[i], allowed[i], int(actions[i])))
            rows = self._space.canonical_rows(rows)
            going &= self._rng.random(len(at)) < 0.5
            if not going.any():
                break
        return rows, traces

    def _learn(self) -> None:
        """Reinforce the latest edits by what they won, each under the weights that it was made with."""
        history = self._history
        place = {key: i for i, key in enumerate(history.keys)}
        ok = history.succeeded
        badness = np.full((len(self._learnt), len(ok)), np.inf)
        badness[:, ok] = scalarised(history.costs[ok], np.stack([trace.weights for _, trace in self._learnt]))
        factor = np.where(ok, np.power(self._penalty, np.where(ok, history.violations, 0.0)), 0.0)

        def reward(trace: int, key: str) -> float:
            """The share of what was told that is worse, less the punishment for broken limits."""
            i = place[key]
            quality = float((badness[trace] > badness[trace, i]).mean())
            return (1 + quality) / 2 if ok[i] and not history.violations[i] else quality * float(factor[i]) / 2

        steps = [step for _, trace in self._learnt for step in trace.steps]
        won = [reward(t, key) - reward(t, trace.parent) for t, (key, trace) in enumerate(self._learnt)]
        self._editor.learn(steps, np.repeat(won, [len(trace.steps) for _, trace in self._learnt]))
