"""The contract of a search space, small enough for grammars, nested spaces and source-code spaces too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from archsmith.architecture import Architecture


class Space(ABC):
    """A set of architectures, with the operations by which strategies change them."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits; equal on every machine for equal spaces."""

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator) -> list[Architecture]:
        """``n`` random architectures, drawn independently."""

    @abstractmethod
    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """A near architecture that differs from the given one, where the space has another."""

    @abstractmethod
    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """A mixture of two architectures."""

    @abstractmethod
    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """All architectures one edit away, each once, in a fixed order."""

    @abstractmethod
    def contains(self, architecture: Architecture) -> bool:
        """Whether ``architecture`` is a canonical point of this space."""

    @abstractmethod
    def canonical(self, architecture: Architecture) -> Architecture:
        """The one representative of everything that the space declares equal to ``architecture``.

        Raises:
            InvalidArchitecture: when it is no point of the space.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain data with a ``"kind"``; :func:`archsmith.space.from_json` reads it back."""

    @classmethod
    @abstractmethod
    def from_json(cls, data: Mapping[str, Any]) -> Space:
        """The inverse of :meth:`to_json`."""
