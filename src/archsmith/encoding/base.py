"""The contract of an architecture encoding."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.method import Method
from archsmith.space.choice_space import ChoiceSpace


class Encoding(Method):
    """Rows of option indices ``(n, choices)`` to vectors ``(n, d)`` and back.

    Every encoding is built as ``Encoding(space)``. It tells an inactive choice from its first option.
    """

    @abstractmethod
    def __init__(self, space: ChoiceSpace) -> None: ...

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """What each of the ``d`` columns stands for."""

    @abstractmethod
    def encode(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Canonical rows ``(n, choices)`` as vectors ``(n, d)``."""

    @abstractmethod
    def decode(self, vectors: NDArray[np.floating[Any]]) -> NDArray[np.int16]:
        """The canonical rows that ``vectors`` encode; the nearest options where a vector is none exactly."""
