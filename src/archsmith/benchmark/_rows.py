"""Positions of rows in a table, for many rows at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_DENSE = 10**6


class Index:
    """Finds the position of rows, numbered as digits in a mixed radix.

    Args:
        rows: sorted lexicographically, no two equal, ``(n, d)``.
        cardinalities: options of each choice, ``(d,)``.
    """

    def __init__(self, rows: NDArray[np.integer[Any]], cardinalities: NDArray[np.integer[Any]]) -> None:
        sizes = [int(c) for c in cardinalities]
        # Spaces beyond 2**63 need several numbers per row; each further one separates rows with the same numbers
        # before.
        self._blocks = [(start, stop, _radix(sizes[start:stop])) for start, stop in _split(sizes)]
        self._total = math.prod(sizes)
        self._rows = rows
        if self._total <= _MOST_DENSE:
            self._dense = np.full(self._total, -1, dtype=np.int64)
            self._dense[self._codes(rows)[:, 0]] = np.arange(len(rows))
        else:
            codes = self._codes(rows)
            self._sorted = _joined(codes)
            self._order = np.argsort(self._sorted)
            self._sorted = self._sorted[self._order]

    def find(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Position of each row, ``(k,)``; -1 where it has none."""
        codes = self._codes(rows)
        if self._total <= _MOST_DENSE:
            return self._dense[codes[:, 0]]
        wanted = _joined(codes)
        place = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        return np.where(self._sorted[place] == wanted, self._order[place], -1).astype(np.int64)

    def _codes(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        wide = rows.astype(np.int64)
        return np.column_stack([wide[:, start:stop] @ radix for start, stop, radix in self._blocks])


def _split(sizes: list[int]) -> list[tuple[int, int]]:
    """Runs of columns whose combinations an int64 can count."""
    found, start = [], 0
    for stop in range(1, len(sizes) + 1):
        if stop == len(sizes) or math.prod(sizes[start : stop + 1]) >= 2**63:
            found.append((start, stop))
            start = stop
    return found


def _radix(sizes: list[int]) -> NDArray[np.int64]:
    return np.array([math.prod(sizes[i + 1 :]) for i in range(len(sizes))], dtype=np.int64)


def _joined(codes: NDArray[np.int64]) -> NDArray[Any]:
    """One comparable value a row: its bytes, most significant first, so that order is kept."""
    big = np.ascontiguousarray(codes.astype(">i8"))
    return big.view(f"S{big.shape[1] * 8}")[:, 0]
