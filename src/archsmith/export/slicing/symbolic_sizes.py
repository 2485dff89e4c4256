"""Numbers in a subnet's file as formulas of its sizes (``3 * a``, ``a * b``, ``a + b``), found from a few subnets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.export.slicing.onnx_graph import NotSliceable

Array = NDArray[Any]
Key = tuple[str, str | int, int]
"""A dimension of a tensor ``(name, dimension, -1)``, or a number among a module's attributes
``(module, attribute, position)``."""

NO_SIZE = -1
NEAREST_SIZES = 16
"""How many sizes near a number are tried first in products and sums."""
SUBNETS_AGAINST_SUMS = 4
"""From so many subnets on, sums are no rivals of a formula without a sum."""
RIVALS_KEPT = 50
"""How many rivals of a formula are kept."""
MAX_FORMULAS = 500
"""How many formulas that fit equally well are compared."""
RELATIVE_TOLERANCE = 1e-6
"""Relative difference up to which floating-point numbers, rounded to 32 bits, count as equal."""


class Doubtful(NotSliceable):
    """Two formulas that fit all exported subnets give different numbers for another one."""


@dataclass(frozen=True)
class Formula:
    """``factor * a ** power * b ** other + share * b + shift`` of two sizes ``a`` and ``b`` at most.

    ``rivals`` are formulas that fit the exported subnets too and differ for other subnets.
    """

    sizes: tuple[Key, ...]
    factor: float
    power: float = 1.0
    other: float = 0.0
    share: float = 0.0
    shift: float = 0.0
    rivals: tuple[Formula, ...] = ()

    def __call__(self, size: Mapping[Key, int]) -> float:
        """Its value.

        Raises:
            KeyError: for a size of a module that does not run.
            Doubtful: where a rival has another.
        """
        value = self._value(size)
        for rival in self.rivals:
            other = rival._value(size) if all(key in size for key in rival.sizes) else value
            if abs(other - value) > RELATIVE_TOLERANCE * abs(value):
                raise Doubtful(f"a number is {value:g} or {other:g}, which the exported subnets do not decide")
        return value

    def _value(self, size: Mapping[Key, int]) -> float:
        value = self.factor
        if self.sizes:
            value *= float(size[self.sizes[0]]) ** self.power
        if len(self.sizes) > 1:
            second = float(size[self.sizes[1]])
            value = value * second**self.other + self.share * second
        return value + self.shift


class Sizes:
    """Sizes of some subnets; sizes that are always equal are kept once.

    Args:
        rows: one a subnet, the largest first: the sizes that it has.
    """

    def __init__(self, rows: Sequence[Mapping[Key, int]]) -> None:
        keys = [key for key in rows[0] if any(row.get(key, rows[0][key]) != rows[0][key] for row in rows)]
        table = np.array([[row.get(key, NO_SIZE) for key in keys] for row in rows], np.int64).reshape(len(rows), -1)
        kept: list[int] = []
        self.places: list[list[str]] = []
        for column in np.argsort((table == NO_SIZE).sum(axis=0), kind="stable").tolist():
            mine = table[:, column, None]
            same = ((table[:, kept] == mine) | (mine == NO_SIZE)).all(axis=0)
            if same.any():  # an earlier one has the same values
                self.places[int(np.argmax(same))].append(keys[column][0])
            else:
                kept.append(column)
                self.places.append([keys[column][0]])
        self.keys = [keys[k] for k in kept]
        self.table = table[:, kept]

    def probes(self, most: int) -> list[int]:
        """A few rows, with the largest subnet's, in which all sizes differ that differ in any rows, up to a factor."""
        relative = self.table / np.maximum(self.table[0], 1)
        relative = np.concatenate([relative, np.ones((len(relative), 1))], axis=1)  # what is constant
        there = np.concatenate([self.table != NO_SIZE, np.ones((len(relative), 1), bool)], axis=1)
        apart = [
            (np.abs(r[:, None] - r[None, :]) > 1e-9) & t[:, None] & t[None, :]
            for r, t in zip(relative, there, strict=True)
        ]
        chosen, covered = [0], apart[0].copy()
        while len(chosen) < most:
            gains = [int((a & ~covered).sum()) for a in apart]
            best = int(np.argmax(gains))
            if gains[best] == 0:
                break
            chosen.append(best)
            covered |= apart[best]
        return chosen


class Search:
    """Looks for formulas over the sizes of some subnets.

    Args:
        sizes: of all subnets.
        rows: of the subnets in which numbers were seen.

    Attributes:
        doubts: for each formula with rivals: by row, whether they give different numbers there.
    """

    def __init__(self, sizes: Sizes, rows: Sequence[int]) -> None:
        self._sizes, self._rows = sizes, np.array(rows)
        self._known: dict[Any, Formula | None] = {}
        self.doubts: list[Array] = []

    def formula(self, seen: Mapping[int, float], near: str) -> Formula | None:
        """A formula that gives the numbers seen; ``None`` where none does.

        Args:
            seen: number by position among the rows.
            near: module of the number; of formulas that fit equally well, the one with sizes of nearby modules is
                taken.
        """
        key = near, *seen.items()
        if key not in self._known:
            found = self._found(np.array(list(seen)), np.array(list(seen.values()), float), near)
            found.sort(key=lambda term: (-self._close(term, near), len(term.columns)))
            inside = near.count(".") + 1 if near else 0
            if found and self._close(found[0], near) >= inside:  # sizes of the module itself: none are nearer
                found = [t for t in found if self._close(t, near) >= inside]
            if found and found[0].is_plain and len(seen) >= SUBNETS_AGAINST_SUMS:
                found = [t for t in found if t.is_plain]
            rivals = tuple(t.formula(self._sizes.keys) for t in self._rivals(found))
            self._known[key] = replace(found[0].formula(self._sizes.keys), rivals=rivals) if found else None
        return self._known[key]

    def _close(self, term: Term, near: str) -> float:
        """Nearness of its sizes to the number: enclosing modules that both are in, on average."""
        return sum(self._depth(c, near) for c in term.columns) / max(len(term.columns), 1)

    def _depth(self, column: int, near: str) -> int:
        return max(_common(place, near) for place in self._sizes.places[column])

    def _found(self, subnets: Array, values: Array, near: str) -> list[Term]:
        if (values == values[0]).all():
            return [Term((), (float(values[0]),))]
        table = self._sizes.table[self._rows[subnets]].astype(float)
        every = np.flatnonzero((table != NO_SIZE).all(axis=0))
        local = np.array(sorted(every.tolist(), key=lambda c: -self._depth(c, near))[:NEAREST_SIZES], np.int64)
        whole = bool((values == np.round(values)).all())
        simple = [(_multiples, every), (_shifted, every), (_products, local), (_sums, local)]
        other = [(_powers, every), (_products, every), (_sums, every)]
        if not whole:
            simple, other = [(_multiples, every), (_powers, every)], [(_products, local), (_products, every)]
        for attempts in (simple, other):
            with np.errstate(divide="ignore", invalid="ignore"):  # a size may be 0; what it divides fits no formula
                found = [
                    replace(t, columns=tuple(int(among[c]) for c in t.columns))
                    for attempt, among in attempts
                    for t in islice(attempt(table[:, among], values), MAX_FORMULAS)
                ]
                found = [t for t in found if not whole or self._stays_whole(t)]
            if found:
                return found
        return []

    def _stays_whole(self, term: Term) -> bool:
        """Whether it gives whole numbers in all rows."""
        table = self._sizes.table[(self._sizes.table[:, term.columns] != NO_SIZE).all(axis=1)]
        given = term.values(table.astype(float))
        return bool((np.abs(given - np.round(given)) < 1e-6 * np.maximum(1, np.abs(given))).all())

    def _rivals(self, terms: Sequence[Term]) -> list[Term]:
        """Formulas that differ from the first in some row, and from each other; notes in which rows."""
        if len(terms) < 2:
            return []
        table = self._sizes.table
        found: dict[bytes, Term] = {}
        first = terms[0].values(table.astype(float))
        doubts = np.zeros(len(table), bool)
        for term in terms[1:]:
            there = (table[:, (*terms[0].columns, *term.columns)] != NO_SIZE).all(axis=1)
            given = term.values(table.astype(float))
            apart = there & (np.abs(given - first) > RELATIVE_TOLERANCE * np.abs(first))
            if apart.any():
                doubts |= apart
                found.setdefault(np.where(there, given, 0).tobytes(), term)
        self.doubts.append(doubts)
        return list(found.values())[:RIVALS_KEPT]


@dataclass(frozen=True)
class Term:
    """A formula over columns of a table of sizes; ``rest`` are the fields of :class:`Formula` in order."""

    columns: tuple[int, ...]
    rest: tuple[float, ...]

    def values(self, table: Array) -> Array:
        """By row."""
        factor, power, other, share, shift = self._fields
        value = np.full(len(table), factor)
        if self.columns:
            value = value * table[:, self.columns[0]] ** power
        if len(self.columns) > 1:
            value = value * table[:, self.columns[1]] ** other + share * table[:, self.columns[1]]
        return value + shift

    def formula(self, keys: Sequence[Key]) -> Formula:
        """The same formula over places of sizes instead of columns."""
        factor, power, other, share, shift = self._fields
        return Formula(tuple(keys[c] for c in self.columns), factor, power, other, share, shift)

    @property
    def is_plain(self) -> bool:
        """Whether nothing is added."""
        return not any(self._fields[3:])

    @property
    def _fields(self) -> tuple[float, ...]:
        return (*self.rest, *(1.0, 1.0, 0.0, 0.0, 0.0)[len(self.rest) :])


def _common(place: str, near: str) -> int:
    """How many modules two places are both in."""
    count = 0
    for one, other in zip(place.split("."), near.split("."), strict=False):
        if one != other:
            break
        count += 1
    return count


def _multiples(q: Array, v: Array) -> Iterator[Term]:
    ratio = v[:, None] / q
    for i in np.flatnonzero(_constant(ratio)):
        yield Term((int(i),), (_neat(ratio[0, i]),))


def _shifted(q: Array, v: Array) -> Iterator[Term]:
    """``c * a + d``."""
    for i in range(q.shape[1]):
        x = q[:, i]
        j = int(np.argmax(x != x[0]))
        if x[j] == x[0]:
            continue
        c = (v[j] - v[0]) / (x[j] - x[0])
        d = v[0] - c * x[0]
        if c and np.allclose(c * x + d, v, rtol=0, atol=1e-6) and abs(d - round(d)) < 1e-6:
            yield Term((i,), (_neat(c), 1.0, 0.0, 0.0, float(round(d))))


def _powers(q: Array, v: Array) -> Iterator[Term]:
    for power in (-0.5, -1.0, 0.5, -0.25, 2.0):
        ratio = v[:, None] / q**power
        for i in np.flatnonzero(_constant(ratio)):
            yield Term((int(i),), (_neat(ratio[0, i]), power))


_EXPONENTS = ((1.0, 1.0), (1.0, -1.0), (0.5, -0.5), (0.25, -0.25), (-0.5, -0.5), (-1.0, -1.0))


def _products(q: Array, v: Array) -> Iterator[Term]:
    """Products and quotients, and those of roots."""
    for one, other in _EXPONENTS:
        ratio = v[:, None, None] / (q[:, :, None] ** one * q[:, None, :] ** other)
        for i, j in np.argwhere(_constant(ratio)):
            if i <= j or other != one:
                yield Term((i, j), (_neat(ratio[0, i, j]), one, other))


def _sums(q: Array, v: Array) -> Iterator[Term]:
    """``a + c * b``."""
    for c in (1.0, -1.0, 2.0, -2.0, 3.0, 0.5, -0.5):
        rest = v[:, None, None] - q[:, :, None] - c * q[:, None, :]
        for i, j in np.argwhere((rest == 0).all(axis=0)):
            yield Term((i, j), (1.0, 1.0, 0.0, c))


def _constant(ratio: Array) -> Any:
    return (np.abs(ratio - ratio[0]) <= RELATIVE_TOLERANCE * np.abs(ratio[0])).all(axis=0)


def _neat(value: float) -> float:
    """The nearest small fraction, where only rounding differs."""
    for below in (1, 2, 3, 4, 6, 8, 16, 32, 64):
        if abs(value * below - round(value * below)) < 1e-6 * max(1.0, abs(value * below)) and round(value * below):
            return round(value * below) / below
    return float(value)
