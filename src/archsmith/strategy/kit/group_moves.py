"""Moves of many choices at once: a whole group of alike choices to one option, or as another design has it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.kit.variation import Rows

Groups = Sequence[NDArray[np.intp]]


def evened(space: ChoiceSpace, groups: Groups, rows: Rows) -> Rows:
    """Each of ``rows (n, d)`` with each group of choices set to each of its options: valid ones, ``(k, d)``.

    To move dozens of layers from one precision to another takes dozens of single edits, each worth little.
    """
    found = []
    for columns in groups:
        for option in range(int(space.cardinalities[columns[0]])):
            moved = rows.copy()
            moved[:, columns] = option
            found.append(moved)
    return _valid(space, np.concatenate(found) if found else rows[:0])


def exchanged(space: ChoiceSpace, groups: Groups, a: Rows, b: Rows, rng: np.random.Generator) -> Rows:
    """Each of ``a (n, d)`` with one group of choices as its partner in ``b (n, d)`` has it: valid ones, ``(k, d)``."""
    if len(groups) < 2:  # one group is all that would be exchanged, or nothing
        return a[:0]
    members = np.zeros((len(groups), a.shape[1]), dtype=bool)
    for k, columns in enumerate(groups):
        members[k, columns] = True
    return _valid(space, np.where(members[rng.integers(len(groups), size=len(a))], b, a))


def _valid(space: ChoiceSpace, rows: Rows) -> Rows:
    rows = space.canonical_rows(rows)
    return rows[space.valid(rows)]
