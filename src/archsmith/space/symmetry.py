"""Symmetries that a space declares: groups of choices that may be swapped without changing the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Option
from archsmith.errors import InvalidSpace, unknown
from archsmith.forms import reading
from archsmith.space.choice import Choice, Condition
from archsmith.space.isomorphism import Isomorphic


class _Written(TypedDict):
    """A symmetry as JSON."""

    groups: list[list[str]]
    when: NotRequired[tuple[str, list[int | float | str | bool | list[int | str]]] | None]


@dataclass(frozen=True)
class Interchangeable:
    """Groups of choices of which any permutation gives the same network.

    The canonical form sorts the groups by their option indices. Corresponding choices of all groups have the
    same options and the same condition, either on a common choice outside or on the corresponding choice inside.

    Args:
        groups: two or more tuples of choice names, all of one length.
        when: ``(other, values)``: holds only where the choice ``other``, which is always active and in no symmetry,
            has one of ``values``. ``None`` means everywhere.

    Raises:
        InvalidSpace: when the groups cannot be swapped.
    """

    groups: tuple[tuple[str, ...], ...]
    when: Condition | None = None

    def __post_init__(self) -> None:
        groups = tuple(tuple(g) for g in self.groups)
        object.__setattr__(self, "groups", groups)
        if len(groups) < 2 or len({len(g) for g in groups}) != 1 or not groups[0]:
            raise InvalidSpace(f"a symmetry needs two or more groups of equally many choices, got {groups}")
        if len(set(self.names)) < len(self.names):
            raise InvalidSpace(f"a choice stands in a symmetry twice: {groups}")
        if self.when is not None:
            object.__setattr__(self, "when", (self.when[0], tuple(self.when[1])))

    @property
    def names(self) -> tuple[str, ...]:
        """Every choice in it, group by group."""
        return tuple(name for group in self.groups for name in group)

    def check(self, choices: Sequence[Choice]) -> None:
        """Refuse groups that cannot be swapped.

        Raises:
            UnknownName: for a name that is no choice.
            InvalidSpace: for groups whose choices differ in options or conditions, or for a choice outside
                that depends on one inside.
        """
        by_name = {c.name: c for c in choices}
        for name in self.names:
            if name not in by_name:
                raise unknown("choice of the symmetry", name, by_name)
        if self.when is not None:
            self._check_condition(by_name, *self.when)
        for group in self.groups[1:]:
            for first, other in zip(self.groups[0], group, strict=True):
                if _shape(by_name[first], self.groups[0]) != _shape(by_name[other], group):
                    raise InvalidSpace(
                        f"{first!r} and {other!r} cannot be interchanged: they differ in kind, options, owner or "
                        "condition; make them alike or drop the symmetry"
                    )
        inside = set(self.names)
        for choice in choices:
            if choice.when and choice.when[0] in inside and choice.name not in inside:
                raise InvalidSpace(
                    f"{choice.name!r} depends on {choice.when[0]!r}, which a symmetry swaps; "
                    "add it (and its counterparts) to the groups"
                )

    def _check_condition(self, by_name: Mapping[str, Choice], other: str, values: tuple[Option, ...]) -> None:
        if other not in by_name:
            raise unknown("choice in the condition of the symmetry", other, by_name)
        choice = by_name[other]
        for value in values:
            if choice.index(value) is None:
                raise unknown(f"option of {other!r} (condition of a symmetry)", str(value), map(str, choice.options))
        if choice.when is not None or other in self.names or not values:
            raise InvalidSpace(
                f"a symmetry cannot depend on {other!r} being one of {list(values)}: it needs values of a choice that "
                "is always active and not swapped itself"
            )

    def overlaps(self, other: Interchangeable | Isomorphic) -> bool:
        """Whether both have a choice in common and can hold at the same time."""
        common = set(self.names) & set(other.names)
        if not common or isinstance(other, Isomorphic):
            return bool(common)
        if self.when is None or other.when is None or self.when[0] != other.when[0]:
            return True
        return bool(set(self.when[1]) & set(other.when[1]))

    def apply(self, rows: NDArray[np.int16], choices: Sequence[Choice], columns: Mapping[str, int]) -> None:
        """Sort the groups within each of the canonically filled ``rows (n, d)``, in place."""
        index = np.array([[columns[name] for name in group] for group in self.groups])
        lines = np.arange(len(rows))
        if self.when is not None:
            column = columns[self.when[0]]
            holds = np.array([option in self.when[1] for option in choices[column].options])
            lines = np.flatnonzero(holds[rows[:, column]])
            if not len(lines):
                return
        block = rows[lines][:, index]  # (n, groups, length)
        keys = np.moveaxis(block, 2, 0)[::-1]  # lexsort's last key is the primary one
        order = np.lexsort(keys, axis=-1)
        rows[lines[:, None, None], index] = np.take_along_axis(block, order[:, :, None], axis=1)

    def to_json(self) -> dict[str, Any]:
        """Plain data; :meth:`from_json` reads it back."""
        when = {} if self.when is None else {"when": [self.when[0], list(self.when[1])]}
        return {"groups": [list(g) for g in self.groups], **when}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Interchangeable:
        """The inverse of :meth:`to_json`.

        Raises:
            DamagedFile: when ``data`` has another form.
        """
        with reading("a symmetry", data, _Written):
            when = data.get("when")
            condition = None if when is None else (when[0], tuple(_hashable(v) for v in when[1]))
            return cls(tuple(tuple(g) for g in data["groups"]), condition)


def _hashable(value: Any) -> Option:
    return tuple(value) if isinstance(value, list) else value


def _shape(choice: Choice, group: tuple[str, ...]) -> tuple[object, ...]:
    """Everything that must agree between groups; a condition inside the group counts by its place in it."""
    when = choice.when and (group.index(choice.when[0]) if choice.when[0] in group else choice.when[0], choice.when[1])
    return choice.kind, tuple(map(repr, choice.options)), choice.owner, when
