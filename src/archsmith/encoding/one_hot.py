"""One column an option."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from archsmith.encoding.base import InvertibleEncoding
from archsmith.method import OURS
from archsmith.space.choice import Choice
from archsmith.space.choice_space import ChoiceSpace
from archsmith.space.forest import AnyRows

_BLOCK_ROWS = 1024  # rows whose indices stay in the processor's cache


@final
class OneHot(InvertibleEncoding):
    """One 0/1 column an option, all 0 where the choice is inactive; a subset choice has one column an item.

    Shapes:
        rows ``(n, choices)`` -> vectors ``(n, d)``, with ``d`` the number of options (items for subsets) in all.
    """

    paper = OURS

    def __init__(self, space: ChoiceSpace) -> None:
        self._space = space
        codes = [_code(choice) for choice in space.choices]
        widths = [code.shape[1] for code in codes]
        self._starts = np.concatenate([[0], np.cumsum(widths)])
        self._codes = {j: code for j, (c, code) in enumerate(zip(space.choices, codes, strict=True)) if _items(c)}
        self._names = [f"{c.name}={label}" for c in space.choices for label in _items(c) or c.options]

    @property
    def names(self) -> list[str]:
        """``choice=option`` of each column."""
        return list(self._names)

    def encode(self, rows: AnyRows) -> NDArray[np.float32]:
        """Canonical rows ``(n, choices)`` as vectors ``(n, d)`` of zeros and ones."""
        active = self._space.active(rows)
        vectors = np.zeros((len(rows), self._starts[-1]), dtype=np.float32)
        flat = vectors.reshape(-1)
        plain = np.ones(len(self._space.choices), dtype=bool)
        plain[list(self._codes)] = False
        for start in range(0, len(rows), _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            lines = np.arange(len(rows))[part, None] * self._starts[-1]
            flat[(rows[part] + self._starts[:-1] + lines)[active[part] & plain]] = 1.0
        for j, code in self._codes.items():
            vectors[:, self._starts[j] : self._starts[j + 1]] = code[rows[:, j]] * active[:, j, None]
        return vectors

    def decode(self, vectors: NDArray[np.floating[Any]]) -> NDArray[np.int16]:
        """The canonical rows of ``vectors (n, d)``: each choice at the option whose code lies nearest."""
        rows = np.empty((len(vectors), len(self._space.choices)), dtype=np.int16)
        for j in range(rows.shape[1]):
            block = vectors[:, self._starts[j] : self._starts[j + 1]]
            # The codes of one choice are equally long, so that the nearest has the largest product.
            rows[:, j] = np.argmax(block @ self._codes[j].T if j in self._codes else block, axis=1)
        return self._space.canonical_rows(rows)


def _items(choice: Choice) -> list[int | str]:
    """What the options of a subset choice are made of, in order of appearance; nothing for other choices."""
    return list(dict.fromkeys(item for option in choice.options if isinstance(option, tuple) for item in option))


def _code(choice: Choice) -> NDArray[np.float32]:
    """The vector of each option, ``(options, width)``."""
    items = _items(choice)
    if not items:
        return np.eye(len(choice.options), dtype=np.float32)
    return np.array([[i in o for i in items] for o in choice.options if isinstance(o, tuple)], dtype=np.float32)
