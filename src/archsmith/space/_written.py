"""The form of a space in a file, and how large it may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from archsmith.errors import InvalidSpace

_MOST_WRITTEN = {"choices": 20_000, "constraints": 2000, "symmetries": 1000}
"""Of each in a file: far more than networks have; building a space takes more than linear time."""
_MOST_SWAPPED = 10**7
"""Names in all symmetries of a file times their number: each is held against each."""


class Written(TypedDict):
    """A space as JSON; its parts are checked where they are read."""

    kind: str
    name: str
    choices: list[dict[str, Any]]
    constraints: list[dict[str, Any]]
    symmetries: list[dict[str, Any]]
    wiring: NotRequired[dict[str, Any]]


def check_size(data: Mapping[str, Any]) -> None:
    """Refuse a space that would take hours to build."""
    for what, most in _MOST_WRITTEN.items():
        if len(data[what]) > most:
            raise InvalidSpace(f"it has {len(data[what]):,} {what}, at most {most:,} are read")
    groups = [group for s in data["symmetries"] for group in s.get("groups", ())]
    swapped = sum(map(len, groups)) * len(data["symmetries"])
    if swapped > _MOST_SWAPPED:
        raise InvalidSpace("its symmetries name too many choices to be held against each other")
