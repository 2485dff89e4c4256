"""Choices that decide the same thing for different parts of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archsmith.space.choice import Choice


def alike_choices(choices: Sequence[Choice]) -> list[NDArray[np.intp]]:
    """The columns of each group of two or more alike choices, in order of first appearance.

    Alike are choices of one owner and kind with the same options. Ordered ones whose names have the same last part
    (after a dot) only need the same number of options: the widths of two layers are rarely the same numbers, but often
    the same shares.
    """
    found: dict[tuple[object, ...], list[int]] = {}
    for column, choice in enumerate(choices):
        _, dot, last = choice.name.rpartition(".")
        same = (last, len(choice.options)) if dot and choice.kind == "ordinal" else tuple(map(repr, choice.options))
        found.setdefault((choice.owner, choice.kind, same), []).append(column)
    return [np.array(columns, dtype=np.intp) for columns in found.values() if len(columns) > 1]
