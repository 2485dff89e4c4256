"""One column a choice."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from archsmith.encoding.base import InvertibleEncoding
from archsmith.method import OURS
from archsmith.space.choice_space import ChoiceSpace
from archsmith.space.forest import AnyRows

INACTIVE = -1.0


@final
class Ordinal(InvertibleEncoding):
    """One column a choice: the option's position from 0 (first) to 1 (last), -1 where the choice is inactive.

    A choice with one option only reads 0 where it is active.

    Shapes:
        rows ``(n, choices)`` -> vectors ``(n, choices)``.
    """

    paper = OURS

    def __init__(self, space: ChoiceSpace) -> None:
        self._space = space
        self._last = np.maximum(1, space.cardinalities - 1).astype(np.float32)

    @property
    def names(self) -> list[str]:
        """The choices."""
        return list(self._space.names)

    def encode(self, rows: AnyRows) -> NDArray[np.float32]:
        """Canonical rows ``(n, choices)`` as vectors ``(n, choices)``."""
        places = rows.astype(np.float32) / self._last
        return np.where(self._space.active(rows), places, np.float32(INACTIVE))

    def decode(self, vectors: NDArray[np.floating[Any]]) -> NDArray[np.int16]:
        """The canonical rows of ``vectors (n, choices)``: each choice at the nearest position."""
        places = np.rint(np.asarray(vectors) * self._last)
        return self._space.canonical_rows(np.clip(places, 0, self._space.cardinalities - 1).astype(np.int16))
