"""Several encodings side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from archsmith.encoding.base import Encoding
from archsmith.errors import InvalidOption
from archsmith.method import OURS, make
from archsmith.space.choice_space import ChoiceSpace
from archsmith.space.forest import AnyRows


@final
class Concatenated(Encoding):
    """The columns of several encodings, one after the other.

    Args:
        space: of all of them.
        parts: names of encodings (with their default options), or encodings of the same space.

    Shapes:
        rows ``(n, choices)`` -> vectors ``(n, d)``, with ``d`` the sum over the parts; NaN stays NaN.

    Raises:
        InvalidOption: for no parts.
        UnknownName: for a name of no encoding.
    """

    paper = OURS

    def __init__(self, space: ChoiceSpace, *, parts: Sequence[str | Encoding]) -> None:
        if isinstance(parts, str) or not parts:
            raise InvalidOption(f"parts={parts!r} is no list of encodings; give at least one, such as ['one_hot']")
        self._parts: list[Encoding] = [make("encoding", part, space) for part in parts]

    @property
    def names(self) -> list[str]:
        """``part: name`` of each column, with the file name of the part's method."""
        return [f"{type(part).__module__.rpartition('.')[2]}: {name}" for part in self._parts for name in part.names]

    @property
    def widths(self) -> list[int]:
        """How many columns each part has."""
        return [len(part.names) for part in self._parts]

    def encode(self, rows: AnyRows) -> NDArray[np.float32]:
        """Canonical rows ``(n, choices)`` as vectors ``(n, d)``."""
        return np.concatenate([part.encode(rows) for part in self._parts], axis=1)
