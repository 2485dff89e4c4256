"""Conditions, constraints and symmetries applied to rows; looked up in tables where they depend on few choices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.graph import signatures
from archsmith.space.choice import Choice
from archsmith.space.constraint import Constraint
from archsmith.space.forest import AnyRows, Columns, Forest, Rows
from archsmith.space.isomorphism import MOST_SETTINGS, Isomorphic
from archsmith.space.symmetry import Interchangeable

Symmetry = Interchangeable | Isomorphic
ROWS_FOR_A_TABLE = 256
"""From so many rows at once on, a table is made; for fewer it takes longer than it saves."""


class Rules:
    """Applies the rules of a space to rows ``(n, d)``.

    Args:
        choices: of the space.
        forest: their conditions.
        constraints: that every architecture meets.
        symmetries: groups of choices that may be swapped, and wirings whose isomorphic graphs are one.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        forest: Forest,
        constraints: Sequence[Constraint],
        symmetries: Sequence[Symmetry],
    ) -> None:
        self.choices, self.forest, self.constraints, self.symmetries = choices, forest, constraints, symmetries
        self._swaps = [s for s in symmetries if isinstance(s, Interchangeable)]
        self._wirings = [s for s in symmetries if isinstance(s, Isomorphic)]

    def canonical(self, rows: AnyRows) -> Rows:
        """The representatives of rows of option indices; constraints are not looked at."""
        filled = np.where(self.forest.active(rows), rows, np.int16(0)).astype(np.int16, copy=False)
        for classes in self._classes:
            filled[:, classes.columns] = classes.representatives(filled)
        if not self._swaps:
            return filled
        if self._sorted.serves(filled):
            filled[:, self._sorted.columns] = self._sorted(filled)
            return filled
        return self._swapped(filled)

    def forms(self, canonical: Rows) -> Rows:
        """Every way to write each of the canonical rows ``(n, d)`` by isomorphic graphs, ``(k, d)``, row by row."""
        for classes in self._classes:
            canonical = classes.members(canonical)
        return canonical

    def any_form(self, canonical: Rows, rng: np.random.Generator) -> Rows:
        """One of the ways to write each of the canonical rows ``(n, d)``, all equally likely, ``(n, d)``."""
        for classes in self._classes:
            canonical = classes.any_member(canonical, rng)
        return canonical

    def violated(self, canonical: Rows) -> NDArray[np.intp]:
        """How many constraints each canonical row breaks, ``(n,)``."""
        if not self.constraints:
            return np.zeros(len(canonical), dtype=np.intp)
        return self._counts(canonical) if self._counts.serves(canonical) else self._broken(canonical)

    def valid(self, canonical: Rows) -> NDArray[np.bool_]:
        """Which canonical rows meet all constraints, ``(n,)``."""
        return np.asarray(self.violated(canonical) == 0)

    @cached_property
    def _sorted(self) -> _Table:
        names = [name for s in self._swaps for name in (*s.names, *([s.when[0]] if s.when else []))]
        return _Table(self.forest, names, lambda rows, columns: self._swapped(rows)[:, columns])

    @cached_property
    def _classes(self) -> list[_Classes]:
        return [_Classes(self.forest, self.choices, symmetry) for symmetry in self._wirings]

    @cached_property
    def _counts(self) -> _Table:
        names = [name for constraint in self.constraints for name in constraint.names]
        return _Table(self.forest, names, lambda rows, _: self._broken(rows))

    def _swapped(self, filled: Rows) -> Rows:
        """Rows with the groups of each symmetry sorted, in place."""
        for symmetry in self._swaps:
            symmetry.apply(filled, self.choices, self.forest.columns)
        return filled

    def _broken(self, canonical: Rows) -> NDArray[np.intp]:
        columns = Columns(self.forest, self.choices, canonical)
        broken = np.zeros(len(canonical), dtype=np.intp)
        for constraint in self.constraints:
            broken += ~constraint.holds(columns)
        return broken


class _Table:
    """The values of a function of rows for every setting of some columns, and of the columns that they depend on.

    Args:
        forest: of the space.
        names: of the choices that the function reads.
        function: of rows ``(n, d)`` and these columns.
    """

    def __init__(
        self, forest: Forest, names: Iterable[str], function: Callable[[Rows, NDArray[np.intp]], NDArray[Any]]
    ) -> None:
        columns, waiting = set[int](), [forest.columns[name] for name in names]
        while waiting:
            column = waiting.pop()
            if column >= 0 and column not in columns:
                columns.add(column)
                waiting.append(forest.parents[column])
        self.columns = np.array(sorted(columns), dtype=np.intp)
        self._cardinalities = [int(forest.cardinalities[j]) for j in self.columns]
        strides = [math.prod(self._cardinalities[i + 1 :]) for i in range(len(columns))]
        self._small = math.prod(self._cardinalities) <= MOST_SETTINGS
        self._strides = np.array(strides if self._small else [0] * len(strides), dtype=np.int64)
        self._width, self._function = len(forest.parents), function
        self._values: NDArray[Any] | None = None

    def settings(self) -> Rows:
        """All settings of the columns in lexicographic order, all else 0, ``(N, d)``."""
        numbers = np.arange(math.prod(self._cardinalities))
        settings = np.zeros((len(numbers), self._width), dtype=np.int16)
        for column, stride, cardinality in zip(self.columns, self._strides, self._cardinalities, strict=True):
            settings[:, column] = numbers // stride % cardinality  # NumPy unravels 64 dimensions at most
        return settings

    def numbers(self, rows: Rows) -> NDArray[np.int64]:
        """Which of :meth:`settings` each of ``rows (n, d)`` has, ``(n,)``."""
        return np.asarray(rows[:, self.columns] @ self._strides)

    def serves(self, rows: Rows) -> bool:
        """Whether there is a table, or there are enough ``rows`` to make it now."""
        if self._values is None and self._small and len(rows) >= ROWS_FOR_A_TABLE:
            self._values = self._function(self.settings(), self.columns)
        return self._values is not None

    def __call__(self, rows: Rows) -> NDArray[Any]:
        """The function's values for ``rows (n, d)``."""
        assert self._values is not None
        return np.asarray(self._values[self.numbers(rows)])


class _Classes:
    """The settings of a wiring's choices in classes of isomorphic graphs.

    Args:
        forest: of the space.
        choices: of the space.
        symmetry: the wiring.
    """

    def __init__(self, forest: Forest, choices: Sequence[Choice], symmetry: Isomorphic) -> None:
        self._table = _Table(forest, symmetry.names, lambda rows, _: rows)
        self.columns = self._table.columns
        settings = self._table.settings()
        active = forest.active(settings)
        _, first, same = np.unique(
            signatures(symmetry.wiring.graphs(choices, settings, active)), return_index=True, return_inverse=True
        )
        self._settings = settings[:, self.columns]
        self._first = first[same.ravel()]
        written = np.flatnonzero((active | (settings == 0)).all(axis=1))  # inactive choices make no other form
        self._members = written[np.argsort(self._first[written], kind="stable")]
        self._ends = np.searchsorted(self._first[self._members], np.arange(len(settings)), side="right")
        self._starts = np.searchsorted(self._first[self._members], np.arange(len(settings)))

    def representatives(self, rows: Rows) -> Rows:
        """The first setting of each row's class, ``(n, columns)``."""
        return np.asarray(self._settings[self._first[self._table.numbers(rows)]])

    def members(self, rows: Rows) -> Rows:
        """Every form of each of ``rows (n, d)``, ``(k, d)``."""
        of = self._first[self._table.numbers(rows)]
        counts = self._ends[of] - self._starts[of]
        line = np.repeat(np.arange(len(rows)), counts)
        place = np.arange(len(line)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._written(rows[line], self._members[self._starts[of][line] + place])

    def any_member(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """One form of each of ``rows (n, d)``, all equally likely, ``(n, d)``."""
        of = self._first[self._table.numbers(rows)]
        return self._written(rows, self._members[rng.integers(self._starts[of], self._ends[of])])

    def _written(self, rows: Rows, numbers: NDArray[np.intp]) -> Rows:
        written = rows.copy()
        written[:, self.columns] = self._settings[numbers]
        return written
