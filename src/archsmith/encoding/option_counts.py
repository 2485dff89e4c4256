"""How often each option is taken: few numbers per architecture, for spaces without a graph view."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from archsmith.encoding.base import Encoding
from archsmith.encoding.thermometer import Thermometer
from archsmith.method import OURS
from archsmith.space.alike import alike_choices
from archsmith.space.choice_space import ChoiceSpace
from archsmith.space.forest import AnyRows


@final
class OptionCounts(Encoding):
    """For each group of alike choices how many of them take each option (of ordered options: at least each).

    Depths, mean widths and the share of layers in low precision are such counts. They hold no more than the choices
    themselves, but let a predictor generalise over places from few architectures: one more pooling costs about as much
    wherever it stands. A choice that is like no other is a group of its own.

    Shapes:
        rows ``(n, choices)`` -> vectors ``(n, d)``.
    """

    paper = OURS

    def __init__(self, space: ChoiceSpace) -> None:
        self._codes = Thermometer(space)
        groups = [*alike_choices(space.choices)]
        grouped = {int(column) for columns in groups for column in columns}
        groups += [np.array([j]) for j in range(len(space.choices)) if j not in grouped]
        names, lines = [], []
        for columns in groups:
            of = [np.flatnonzero(self._codes.groups == j) for j in columns]
            off = [at[-1] for at, j in zip(of, columns, strict=True) if space.choices[j].when is not None]
            options = [at[:-1] if space.choices[j].when is not None else at for at, j in zip(of, columns, strict=True)]
            for same in [*zip(*options, strict=True), *([off] if off else [])]:
                names.append(f"count({self._codes.names[same[0]]})")
                lines.append(np.isin(np.arange(len(self._codes.names)), same))
        self._names = names
        self._sums = np.array(lines, dtype=np.float32).reshape(len(lines), len(self._codes.names)).T

    @property
    def names(self) -> list[str]:
        """``count(choice[column])`` of each, after the first choice of its group."""
        return list(self._names)

    def encode(self, rows: AnyRows) -> NDArray[np.float32]:
        """Canonical rows ``(n, choices)`` as vectors ``(n, d)``."""
        return np.asarray(self._codes.encode(rows) @ self._sums)
