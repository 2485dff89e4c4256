"""Codes whose squared distance is the distance of two options of a choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from archsmith.encoding.base import Encoding
from archsmith.method import OURS
from archsmith.space.choice import Choice
from archsmith.space.choice_space import ChoiceSpace


@final
class Thermometer(Encoding):
    """Codes a choice so that squared distances lie in 0..1: steps for ordered options, marks for unordered ones.

    Two options of an ordinal choice lie as far apart as their places in the list, the ends at distance 1; different
    options of a categorical choice lie at distance 1; subsets at the share of items in which they differ. An inactive
    choice is at distance 1 from every option.

    Shapes:
        rows ``(n, choices)`` -> vectors ``(n, d)``.

    Attributes:
        groups: the index of the choice of each column, ``(d,)``.
        alike: a number for each column, ``(d,)``: equal for corresponding columns of alike choices (of one kind and
            with the same options), -1 where it marks an inactive choice. Sums over equal numbers count how often an
            option is taken.
    """

    paper = OURS

    def __init__(self, space: ChoiceSpace) -> None:
        self._space = space
        conditional = [choice.when is not None for choice in space.choices]
        self._codes = [_code(choice, off) for choice, off in zip(space.choices, conditional, strict=True)]
        widths = [code.shape[1] for code in self._codes]
        self.groups = np.repeat(np.arange(len(widths)), widths)
        self.alike = _alike(space.choices, widths)
        self._names = [f"{c.name}[{i}]" for c, width in zip(space.choices, widths, strict=True) for i in range(width)]

    @property
    def names(self) -> list[str]:
        """``choice[column]`` of each column."""
        return list(self._names)

    def encode(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Canonical rows ``(n, choices)`` as vectors ``(n, d)``."""
        index = np.where(self._space.active(rows), rows, -1)
        parts = [code[index[:, j]] for j, code in enumerate(self._codes)]  # the last line of a code is "inactive"
        return np.concatenate(parts, axis=1, dtype=np.float32)


def _alike(choices: Sequence[Choice], widths: Sequence[int]) -> NDArray[np.intp]:
    """The meaning of each column: the kind and the options of its choice, and its place among the columns."""
    numbers: dict[tuple[object, ...], int] = {}
    found = []
    for choice, width in zip(choices, widths, strict=True):
        for place in range(width):
            if choice.when is not None and place == width - 1:
                found.append(-1)
            else:
                key = (choice.kind, tuple(map(repr, choice.options)), place)
                found.append(numbers.setdefault(key, len(numbers)))
    return np.array(found, dtype=np.intp)


def _code(choice: Choice, conditional: bool) -> NDArray[np.float32]:  # noqa: FBT001 - private
    """One line an option and a last one for an inactive choice."""
    k = len(choice.options)
    if choice.kind == "ordinal":
        code = np.tril(np.ones((k, k)), -1)[:, : k - 1] / np.sqrt(max(k - 1, 1))
    elif choice.kind == "categorical":
        code = np.eye(k) / np.sqrt(2)
    else:
        items = list(dict.fromkeys(item for option in choice.options if isinstance(option, tuple) for item in option))
        code = np.array([[i in o for i in items] for o in choice.options if isinstance(o, tuple)], dtype=float)
        apart = ((code[:, None] - code) ** 2).sum(axis=2).max()
        code /= np.sqrt(max(apart, 1.0))
    if conditional:
        # At squared distance 1 from every option, as far as the lengths of the codes allow.
        length = (code**2).sum(axis=1).mean()
        off = np.sqrt(max(1 - length, 0.0))
        code = np.vstack([np.column_stack([code, np.zeros(k)]), np.append(np.zeros(code.shape[1]), off or 1.0)])
    else:
        code = np.vstack([code, np.zeros(code.shape[1])])
    return code.astype(np.float32)
