"""The form of a space in a file, and how large it may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from archsmith.errors import InvalidSpace

_MOST_WRITTEN = {"choices": 20_000, "constraints": 2000, "symmetries": 1000}
"""Most of each in a file: far more than networks have. Building a space takes more than linear time."""
_MOST_OPTIONS = 10**6
"""Most options of all choices of a file together: more take minutes and gigabytes."""
_MOST_TEXT = 2**18
"""Most characters of all constraints of a file together."""
_MOST_SWAPPED = 10**7
"""Most names in all symmetries of a file times their number: each is compared with each."""


class SpaceForm(TypedDict):
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
    options = sum(len(given) for c in data["choices"] if isinstance(given := c.get("options"), list))
    if options > _MOST_OPTIONS:
        raise InvalidSpace(f"its choices have {options:,} options in all, at most {_MOST_OPTIONS:,} are read")
    text = sum(len(given) for c in data["constraints"] if isinstance(given := c.get("expression"), str))
    if text > _MOST_TEXT:
        raise InvalidSpace(f"its constraints have {text:,} characters in all, at most {_MOST_TEXT:,} are read")
    groups = [group for s in data["symmetries"] for group in s.get("groups", ())]
    swapped = sum(map(len, groups)) * len(data["symmetries"])
    if swapped > _MOST_SWAPPED:
        raise InvalidSpace("its symmetries name too many choices to be held against each other")
