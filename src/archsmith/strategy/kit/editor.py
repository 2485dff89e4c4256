"""A small policy network that edits architectures: which choice to move to which option."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archsmith.strategy.kit.variation import Floats

IMPOSSIBLE_SCORE = -1e9
MOMENTS = (0.9, 0.99)
"""Decay of the running mean and the running square of the gradient (Adam)."""


@dataclass(frozen=True)
class Step:
    """One edit as it was made.

    Args:
        state: what the network saw, ``(s,)``.
        allowed: which edits were possible, ``(a,)``.
        action: the one that was drawn.
    """

    state: Floats
    allowed: NDArray[np.bool_]
    action: int


class Editor:
    """One hidden layer, which is the embedding of the architecture at hand, and a softmax over all edits.

    Args:
        inputs: length of a state.
        actions: number of edits.
        hidden: length of the embedding.
        rate: step of the optimiser.
        entropy: weight of the policy's entropy beside the reward.
        rng: for the first weights.
    """

    def __init__(
        self, inputs: int, actions: int, *, hidden: int, rate: float, entropy: float, rng: np.random.Generator
    ) -> None:
        self._rate, self._entropy = rate, entropy
        self._weights = [
            rng.normal(0, 1 / np.sqrt(inputs), (inputs, hidden)),
            np.zeros(hidden),
            rng.normal(0, 0.1 / np.sqrt(hidden), (hidden, actions)),  # nearly uniform at first
            np.zeros(actions),
        ]
        self._means = [np.zeros_like(w) for w in self._weights]
        self._squares = [np.zeros_like(w) for w in self._weights]
        self._steps = 0

    def probabilities(self, states: Floats, allowed: NDArray[np.bool_]) -> Floats:
        """Of each edit in each of ``states (n, s)``, ``(n, a)``; rows that allow nothing are uniform."""
        return self._forward(states, allowed)[1]

    def learn(self, steps: list[Step], advantages: Floats) -> None:
        """One step of policy gradient: edits with a positive one of ``advantages (n,)`` become more likely."""
        states = np.stack([s.state for s in steps])
        allowed = np.stack([s.allowed for s in steps])
        hidden, chances = self._forward(states, allowed)
        logs = np.log(chances + 1e-12)
        entropy = -(chances * logs).sum(axis=1, keepdims=True)
        slope = advantages[:, None] * -chances
        slope[np.arange(len(steps)), [s.action for s in steps]] += advantages
        slope -= self._entropy * chances * (logs + entropy)
        slope /= len(steps)
        back = (slope @ self._weights[2].T) * (1 - hidden**2)
        self._climb([states.T @ back, back.sum(axis=0), hidden.T @ slope, slope.sum(axis=0)])

    def _forward(self, states: Floats, allowed: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        hidden = np.tanh(states @ self._weights[0] + self._weights[1])
        scores = np.where(allowed, hidden @ self._weights[2] + self._weights[3], IMPOSSIBLE_SCORE)
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return hidden, raised / raised.sum(axis=1, keepdims=True)

    def _climb(self, gradients: list[Floats]) -> None:
        self._steps += 1
        first, second = MOMENTS
        size = self._rate * np.sqrt(1 - second**self._steps) / (1 - first**self._steps)
        for i, gradient in enumerate(gradients):
            self._means[i] += (1 - first) * (gradient - self._means[i])
            self._squares[i] += (1 - second) * (gradient**2 - self._squares[i])
            self._weights[i] += size * self._means[i] / (np.sqrt(self._squares[i]) + 1e-8)
