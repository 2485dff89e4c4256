"""Search spaces: choices, conditions, constraints, symmetries and products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archsmith.errors import DamagedFile, unknown
from archsmith.forms import brief
from archsmith.space.base import Space
from archsmith.space.choice import Choice, Subset
from archsmith.space.choice_space import ChoiceSpace
from archsmith.space.constraint import Constraint
from archsmith.space.isomorphism import Isomorphic
from archsmith.space.sizes import Size
from archsmith.space.symmetry import Interchangeable
from archsmith.space.wiring import Node, Wiring

__all__ = [
    "Choice",
    "ChoiceSpace",
    "Constraint",
    "Interchangeable",
    "Isomorphic",
    "Node",
    "Size",
    "Space",
    "Subset",
    "Wiring",
    "alike",
    "choice",
    "choice_space",
    "forest",
    "from_json",
    "wiring",
]

_KINDS: Mapping[str, type[Space]] = {"choice_space": ChoiceSpace}


def from_json(data: Mapping[str, Any]) -> Space:
    """The space that :meth:`Space.to_json` wrote.

    Raises:
        DamagedFile: when ``data`` is no space.
        UnknownName: for a kind of space that this version does not know.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
        raise DamagedFile(f"not a search space: {brief(data)}")
    if data["kind"] not in _KINDS:
        raise unknown("kind of search space", data["kind"], _KINDS)
    return _KINDS[data["kind"]].from_json(data)
