"""The conditions of a space as a forest of columns: activity, counting and expansion of rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import InvalidSpace, unknown
from archsmith.space.choice import Choice

Rows = NDArray[np.int16]
AnyRows = NDArray[np.integer[Any]]

_BLOCK_ROWS = 65536
_MOST_PAIRS = 10**7
"""Most options of parents over all conditions: counting a space visits each."""


class Forest:
    """Which columns depend on which, as arrays.

    Args:
        choices: in order; a condition names a choice declared earlier, so that one pass from left to right decides
            activity.

    Raises:
        InvalidSpace: for duplicate names or a condition that is not on an earlier choice's options.
    """

    def __init__(self, choices: Sequence[Choice]) -> None:
        self.columns: dict[str, int] = {}
        self.cardinalities = np.array([len(c.options) for c in choices], dtype=np.int16)
        self.parents: list[int] = []
        self.allowed: list[NDArray[np.bool_]] = []  # per column: which options of its parent make it active
        names = {c.name for c in choices}
        pairs = 0
        for column, choice in enumerate(choices):
            if choice.name in self.columns:
                raise InvalidSpace(f"two choices are called {choice.name!r}; names are unique in a space")
            parent, allowed = _condition(choice, choices, self.columns, names)
            pairs += len(allowed)
            if pairs > _MOST_PAIRS:
                raise InvalidSpace(
                    f"the conditions are on {pairs:,} options in all, at most {_MOST_PAIRS:,}; drop some"
                )
            self.columns[choice.name] = column
            self.parents.append(parent)
            self.allowed.append(allowed)
        self.conditional = [j for j, p in enumerate(self.parents) if p >= 0]

    def active(self, rows: AnyRows) -> NDArray[np.bool_]:
        """Which choices count, ``(n, d)``."""
        # Column by column, so columns are kept contiguous.
        active = np.ones(rows.shape[::-1], dtype=bool)
        for j in self.conditional:
            p = self.parents[j]
            np.logical_and(active[p], self.allowed[j][rows[:, p]], out=active[j])
        return active.T

    @cached_property
    def weights(self) -> list[list[int]]:
        """Per column and option: how many settings of the choices below it there are."""
        children: list[list[int]] = [[] for _ in self.parents]
        for j in self.conditional:
            children[self.parents[j]].append(j)
        weights: list[list[int]] = [[] for _ in self.parents]
        for j in reversed(range(len(self.parents))):  # children stand right of their parents
            weights[j] = [
                math.prod(sum(weights[c]) for c in children[j] if self.allowed[c][option])
                for option in range(int(self.cardinalities[j]))
            ]
        return weights

    @cached_property
    def count(self) -> int:
        """Exact number of canonical rows without constraints and symmetries."""
        return math.prod(sum(self.weights[j]) for j, p in enumerate(self.parents) if p < 0)

    def sample(self, n: int, rng: np.random.Generator, *, per_architecture: bool) -> Rows:
        """Rows with every column filled in, ``(n, d)``: each option, or each canonical row, equally likely."""
        columns = np.empty((len(self.parents), n), dtype=np.int16)
        for j, cardinality in enumerate(self.cardinalities):
            if per_architecture:
                columns[j] = np.searchsorted(self._cumulative[j], rng.random(n), side="right")
            else:
                columns[j] = rng.integers(0, cardinality, n, dtype=np.int16)
        return columns.T

    @cached_property
    def _cumulative(self) -> list[NDArray[np.float64]]:
        """Per column: the distribution function of its options, without the final 1; whole-number division is exact."""
        totals = [sum(w) for w in self.weights]
        return [
            np.array([below / total for below in itertools.accumulate(w[:-1])], dtype=np.float64)
            for w, total in zip(self.weights, totals, strict=True)
        ]

    def blocks(self) -> Iterator[Rows]:
        """All rows with inactive choices at 0, in lexicographic order, some ten thousands at a time."""
        yield from self._expand(np.zeros((1, len(self.parents)), dtype=np.int16), 0)

    def _expand(self, rows: Rows, start: int) -> Iterator[Rows]:
        """Every completion of rows whose columns before ``start`` are settled."""
        for j in range(start, len(self.parents)):
            if len(rows) > _BLOCK_ROWS:
                for part in np.array_split(rows, len(rows) // _BLOCK_ROWS + 1):
                    yield from self._expand(part, j)
                return
            repeats = np.where(self._open(rows, j), self.cardinalities[j], 1)
            starts = np.repeat(np.cumsum(repeats) - repeats, repeats)
            rows = np.repeat(rows, repeats, axis=0)
            rows[:, j] = np.arange(len(rows)) - starts
        yield rows

    def _open(self, rows: Rows, column: int) -> NDArray[np.bool_]:
        """Whether one choice is active, ``(n,)``, given that the columns left of it are settled."""
        mask = np.ones(len(rows), dtype=bool)
        while (parent := self.parents[column]) >= 0:
            mask &= self.allowed[column][rows[:, parent]]
            column = parent
        return mask


class Columns:
    """Option values and activity of canonical rows by name, as constraints read them."""

    def __init__(self, forest: Forest, choices: Sequence[Choice], rows: Rows) -> None:
        self._forest, self._choices, self._rows = forest, choices, rows
        self._active = forest.active(rows)
        self._values: dict[str, NDArray[Any]] = {}  # constraints name the same choices again and again

    def active(self, name: str) -> NDArray[np.bool_]:
        """Truth values ``(n,)``."""
        return self._active[:, self._forest.columns[name]]

    def value(self, name: str) -> NDArray[Any]:
        """Option values ``(n,)``, 0 where inactive: float64 for numbers, objects for text."""
        if name not in self._values:
            self._values[name] = self._value(name)
        return self._values[name]

    def _value(self, name: str) -> NDArray[Any]:
        column = self._forest.columns[name]
        choice = self._choices[column]
        table = np.array(choice.options, dtype=np.float64 if choice.numeric else object)
        return np.where(self._active[:, column], table[self._rows[:, column]], 0)


def _condition(
    choice: Choice, choices: Sequence[Choice], columns: dict[str, int], names: set[str]
) -> tuple[int, NDArray[np.bool_]]:
    """Column of the choice it depends on (-1 for none) and which of its options make ``choice`` active."""
    if choice.when is None:
        return -1, np.ones(0, dtype=bool)
    other, values = choice.when
    if other not in names:
        others = [c.name for c in choices if c.name != choice.name]
        raise unknown(f"choice in the condition of {choice.name!r}", other, others)
    if other == choice.name:
        raise InvalidSpace(f"{choice.name!r} depends on itself; a condition names a choice declared earlier")
    if other not in columns:
        raise InvalidSpace(
            f"{choice.name!r} depends on {other!r}, which is not declared before it; put {other!r} first"
        )
    parent = choices[columns[other]]
    allowed = np.zeros(len(parent.options), dtype=bool)
    for value in values:
        index = parent.index(value)
        if index is None:
            raise unknown(f"option of {other!r} (condition of {choice.name!r})", str(value), map(str, parent.options))
        allowed[index] = True
    return columns[other], allowed
