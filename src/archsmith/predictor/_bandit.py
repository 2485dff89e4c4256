"""Which auxiliary source to learn from next: bandits whose cost does not grow with the number of sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np

from archsmith.predictor._data import Array

Mixing = Literal["exp3", "ucb1", "uniform"]
MIXINGS: tuple[Mixing, ...] = ("exp3", "ucb1", "uniform")
MEAN_DECAY = 0.9
"""Share of a source's mean reward that outlives a new one: what helps changes while the network learns."""


class Bandit(Protocol):
    """Draws one of several arms; learns from rewards between -1 and 1."""

    def draw(self) -> int:
        """The next arm."""

    def reward(self, arm: int, value: float) -> None:
        """Learn the reward of an arm."""


class Uniform:
    """Every arm equally often, whatever its rewards."""

    def __init__(self, arms: int, rng: np.random.Generator) -> None:
        self._arms, self._rng = arms, rng

    def draw(self) -> int:
        """The next arm."""
        return int(self._rng.integers(self._arms))

    def reward(self, arm: int, value: float) -> None:
        """Changes nothing."""


class Exp3:
    """EXP3 (Auer et al. 2002): exponential weights on rewards over their probability, and some exploration.

    The rate of exploration falls with the number of draws ``t`` as ``min(1/k, sqrt(log(k) / (k t)))``.
    """

    def __init__(self, arms: int, rng: np.random.Generator) -> None:
        self._gains, self._rng, self._drawn = np.zeros(arms), rng, 0

    def draw(self) -> int:
        """The next arm."""
        return int(self._rng.choice(len(self._gains), p=self._chances()))

    def reward(self, arm: int, value: float) -> None:
        """Add the reward, divided by the probability of the draw."""
        self._gains[arm] += value / self._chances()[arm]
        self._drawn += 1

    def _chances(self) -> Array:
        k = len(self._gains)
        explore = min(1 / k, float(np.sqrt(np.log(max(k, 2)) / (k * max(1, self._drawn)))))
        weights = np.exp(explore * (self._gains - self._gains.max()))
        return np.asarray((1 - k * explore) * weights / weights.sum() + explore)


class Ucb1:
    """UCB1 (Auer et al. 2002) on a moving mean: the arm of the best mean reward plus what its rarity allows."""

    def __init__(self, arms: int, rng: np.random.Generator) -> None:
        self._means, self._drawn = np.zeros(arms), np.zeros(arms)
        self._order = rng.permutation(arms)

    def draw(self) -> int:
        """The next arm; each once first."""
        if (self._drawn == 0).any():
            return int(next(arm for arm in self._order if self._drawn[arm] == 0))
        return int(np.argmax(self._means + np.sqrt(2 * np.log(self._drawn.sum()) / self._drawn)))

    def reward(self, arm: int, value: float) -> None:
        """Move the arm's mean towards its reward."""
        kept = MEAN_DECAY if self._drawn[arm] else 0.0
        self._means[arm] = kept * self._means[arm] + (1 - kept) * value
        self._drawn[arm] += 1


def bandit(mixing: Mixing, arms: int, rng: np.random.Generator) -> Bandit:
    """The bandit of that name."""
    kinds: dict[Mixing, Callable[[int, np.random.Generator], Bandit]] = {
        "exp3": Exp3,
        "ucb1": Ucb1,
        "uniform": Uniform,
    }
    return kinds[mixing](arms, rng)
