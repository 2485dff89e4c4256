"""Isomorphic graphs as a symmetry that a space declares: all ways to write one network are one architecture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archsmith.errors import InvalidSpace
from archsmith.forms import reading
from archsmith.space.choice import Choice
from archsmith.space.wiring import Wiring

MOST_SETTINGS = 2**17
"""Most settings of the choices of a wiring: all of them are compared once."""
_MOST_EDGES = 2**29
"""Most pairs of nodes in the graphs of all settings: a byte each."""


@dataclass(frozen=True)
class Isomorphic:
    """Settings of the choices of ``wiring``, and of those that they depend on, are one network if their graphs are.

    Graphs are one network if they are isomorphic: the order of branches does not count, identities count as edges, and
    nodes on no path from the input to the output are left out (:func:`~archsmith.graph.signatures`). The canonical form
    is the first in lexicographic order. Neighbours and mutants are those of every form, so that an operation can be
    inserted wherever the graph has an edge, however the network is written.

    Only for networks whose quality and costs do not depend on how they are written: tables often hold separate
    measurements for each form. Where costs depend on the form, use :class:`~archsmith.space.Interchangeable`, or no
    symmetry.

    Args:
        wiring: of at most 131,072 settings.
    """

    wiring: Wiring

    @property
    def names(self) -> tuple[str, ...]:
        """Every choice in it."""
        found = [name for node in self.wiring.nodes for name in (*node.operation, *filter(None, [node.link]))]
        return tuple(dict.fromkeys(found))

    def check(self, choices: Sequence[Choice]) -> None:
        """Refuse what cannot be compared.

        Raises:
            UnknownName: for a name that is no choice.
            InvalidSpace: for too many settings, or for a choice outside that depends on one inside.
        """
        self.wiring.check(choices)
        by_name, inside = {c.name: c for c in choices}, set[str]()
        waiting = list(self.names)
        while waiting:
            name = waiting.pop()
            inside.add(name)
            condition = by_name[name].when
            if condition and condition[0] not in inside:
                waiting.append(condition[0])
        for choice in choices:
            if choice.when and choice.when[0] in inside and choice.name not in inside:
                raise InvalidSpace(
                    f"{choice.name!r} depends on {choice.when[0]!r}, which another form of the same graph may set "
                    "otherwise; make it part of the wiring"
                )
        count = math.prod(len(by_name[name].options) for name in inside)
        if count > MOST_SETTINGS:
            raise InvalidSpace(
                f"isomorphic graphs are told by comparing all {count:,} settings of the wiring's choices, at most "
                f"{MOST_SETTINGS:,}; declare what can be swapped as Interchangeable instead"
            )
        if count * (len(self.wiring.nodes) + 2) ** 2 > _MOST_EDGES:
            raise InvalidSpace(
                f"{count:,} settings of a wiring of {len(self.wiring.nodes)} nodes are too many to be compared; "
                "declare what can be swapped as Interchangeable instead"
            )

    def overlaps(self, other: Any) -> bool:
        """Whether it has a choice in common with another symmetry."""
        return bool(set(self.names) & set(other.names))

    def to_json(self) -> dict[str, Any]:
        """Plain data; :meth:`from_json` reads it back."""
        return {"isomorphic": self.wiring.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Isomorphic:
        """The inverse of :meth:`to_json`.

        Raises:
            DamagedFile: when ``data`` has another form.
        """
        with reading("a symmetry", data, dict[str, Any]):
            return cls(Wiring.from_json(data["isomorphic"]))
