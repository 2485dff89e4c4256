"""Values known before anything is run: parameters, MACs, proxies, look-ups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from archsmith.encoding.base import Encoding
from archsmith.errors import InvalidOption
from archsmith.method import OURS
from archsmith.space.choice_space import ChoiceSpace
from archsmith.space.forest import AnyRows


@final
class KnownValues(Encoding):
    """Numbers that come free with an architecture, from a table or a function; NaN where one is not known.

    Units and scales are kept; predictors that need scaled columns scale them.

    Args:
        space: of the architectures.
        columns: a table: for each name the values ``(n,)`` of ``rows``.
        rows: the architectures of the table, ``(n, choices)``; of equal ones the last counts.
        function: instead of a table: canonical rows ``(k, choices)`` to values ``(k, columns)``.
        names: of the function's columns.

    Shapes:
        rows ``(n, choices)`` -> vectors ``(n, columns)``; infinite values become NaN.

    Raises:
        InvalidOption: for neither or both of table and function, or lengths that do not fit.
    """

    paper = OURS

    def __init__(
        self,
        space: ChoiceSpace,
        *,
        columns: Mapping[str, Sequence[float] | NDArray[np.floating[Any]]] | None = None,
        rows: AnyRows | None = None,
        function: Callable[[AnyRows], NDArray[np.floating[Any]]] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self._function = function
        if function is not None:
            if columns is not None or rows is not None or not names:
                raise InvalidOption("known_values reads function and names, or columns and rows; give one of the two")
            self._names = list(names)
            return
        if columns is None or rows is None or not columns:
            raise InvalidOption("known_values needs columns and the rows that they belong to, or function and names")
        canonical = space.canonical_rows(rows)
        self._names = list(columns)
        for name, values in columns.items():
            if np.shape(values) != (len(canonical),):
                raise InvalidOption(f"the column {name!r} has the shape {np.shape(values)} for {len(canonical)} rows")
        # The last line is for unknown architectures.
        table = np.full((len(canonical) + 1, len(columns)), np.nan, dtype=np.float32)
        for j, values in enumerate(columns.values()):
            table[:-1, j] = values
        self._table = _without_infinities(table)
        self._line = {row.tobytes(): i for i, row in enumerate(canonical)}

    @property
    def names(self) -> list[str]:
        """The names that were given."""
        return list(self._names)

    def encode(self, rows: AnyRows) -> NDArray[np.float32]:
        """Canonical rows ``(n, choices)`` as vectors ``(n, columns)``.

        Raises:
            InvalidOption: when the function returns another shape.
        """
        if self._function is None:
            given = np.ascontiguousarray(rows, dtype=np.int16)
            lines = [self._line.get(row.tobytes(), -1) for row in given]
            return self._table[np.array(lines, dtype=np.intp)]
        found = np.array(self._function(rows), dtype=np.float32)
        if found.shape != (len(rows), len(self._names)):
            raise InvalidOption(
                f"the function of known_values returned the shape {found.shape} for {len(rows)} rows and "
                f"{len(self._names)} names"
            )
        return _without_infinities(found)


def _without_infinities(values: NDArray[np.float32]) -> NDArray[np.float32]:
    values[~np.isfinite(values)] = np.nan
    return values
