"""Symmetries that a space declares: groups of choices that may be swapped without changing the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import InvalidSpace, unknown
from archsmith.space.choice import Choice


@dataclass(frozen=True)
class Interchangeable:
    """Groups of choices of which any permutation gives the same network.

    The canonical form sorts the groups by their option indices. Corresponding choices of all groups have the
    same options and the same condition, either on a common choice outside or on the corresponding choice inside.

    Args:
        groups: two or more tuples of choice names, all of one length.

    Raises:
        InvalidSpace: when the groups cannot be swapped.
    """

    groups: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        groups = tuple(tuple(g) for g in self.groups)
        object.__setattr__(self, "groups", groups)
        if len(groups) < 2 or len({len(g) for g in groups}) != 1 or not groups[0]:
            raise InvalidSpace(f"a symmetry needs two or more groups of equally many choices, got {groups}")
        if len(set(self.names)) < len(self.names):
            raise InvalidSpace(f"a choice stands in a symmetry twice: {groups}")

    @property
    def names(self) -> tuple[str, ...]:
        """Every choice in it, group by group."""
        return tuple(name for group in self.groups for name in group)

    def check(self, choices: Sequence[Choice]) -> None:
        """Refuse groups that are not alike.

        Raises:
            UnknownName: for a name that is no choice.
            InvalidSpace: for groups whose choices differ in options or conditions, or for a choice outside
                that depends on one inside.
        """
        by_name = {c.name: c for c in choices}
        for name in self.names:
            if name not in by_name:
                raise unknown("choice of the symmetry", name, by_name)
        for group in self.groups[1:]:
            for first, other in zip(self.groups[0], group, strict=True):
                if _shape(by_name[first], self.groups[0]) != _shape(by_name[other], group):
                    raise InvalidSpace(
                        f"{first!r} and {other!r} cannot be interchanged: they differ in kind, options, owner or "
                        "condition; make them alike or drop the symmetry"
                    )
        for choice in choices:
            if choice.when and choice.when[0] in self.names and choice.name not in self.names:
                raise InvalidSpace(
                    f"{choice.name!r} depends on {choice.when[0]!r}, which a symmetry swaps; "
                    "add it (and its counterparts) to the groups"
                )

    def apply(self, rows: NDArray[np.int16], columns: Mapping[str, int]) -> None:
        """Sort the groups within each of the canonically filled ``rows (n, d)``, in place."""
        index = np.array([[columns[name] for name in group] for group in self.groups])
        block = rows[:, index]  # (n, groups, length)
        keys = np.moveaxis(block, 2, 0)[::-1]  # lexsort's last key is the primary one
        order = np.lexsort(keys, axis=-1)
        rows[:, index] = np.take_along_axis(block, order[:, :, None], axis=1)

    def to_json(self) -> dict[str, Any]:
        """Plain data; :meth:`from_json` reads it back."""
        return {"groups": [list(g) for g in self.groups]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Interchangeable:
        """The inverse of :meth:`to_json`."""
        return cls(tuple(tuple(g) for g in data["groups"]))


def _shape(choice: Choice, group: tuple[str, ...]) -> tuple[object, ...]:
    """All that must agree; a condition inside the group is told by its place in it."""
    when = choice.when and (group.index(choice.when[0]) if choice.when[0] in group else choice.when[0], choice.when[1])
    return choice.kind, tuple(map(repr, choice.options)), choice.owner, when
