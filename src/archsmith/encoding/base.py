"""The contract of an architecture encoding."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.method import Method
from archsmith.space.choice_space import ChoiceSpace


class Encoding(Method):
    """Rows of option indices ``(n, choices)`` to vectors ``(n, d)``.

    Every encoding is built as ``Encoding(space, **options)``. A value that is not known is NaN.
    """

    @abstractmethod
    def __init__(self, space: ChoiceSpace) -> None: ...

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """The meaning of each of the ``d`` columns."""

    @abstractmethod
    def encode(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Canonical rows ``(n, choices)`` as vectors ``(n, d)``."""


class InvertibleEncoding(Encoding):
    """An encoding without loss, which can be decoded: an inactive choice differs from its first option."""

    @abstractmethod
    def decode(self, vectors: NDArray[np.floating[Any]]) -> NDArray[np.int16]:
        """The canonical rows that ``vectors`` encode; the nearest options for other vectors."""
