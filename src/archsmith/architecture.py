"""One point of a search space, as a frozen value; and what a strategy asks for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypedDict

from archsmith.errors import InvalidArchitecture
from archsmith.forms import reading

Option = int | float | str | bool | tuple[int | str, ...]
"""A value a choice may take; a tuple for a ``Subset`` choice."""

_Plain = int | float | str | bool | list[int | str]


class _Written(TypedDict):
    """An architecture as JSON."""

    space: str
    choices: list[tuple[str, _Plain]]


class _Asked(TypedDict):
    """A proposal as JSON."""

    architecture: _Written
    fidelity: dict[str, float | str]
    parent: str | None
    extras: dict[str, Any]


@dataclass(frozen=True)
class Architecture:
    """The active choices of one network, by name and option value, in the order the space declares them.

    Args:
        space: fingerprint of the search space it belongs to.
        choices: ``(name, value)`` of every *active* choice.

    >>> a = Architecture("5f", (("depth", 2), ("width", 32)))
    >>> a["width"], a.get("kernel"), len(a.key)
    (32, None, 16)
    """

    space: str
    choices: tuple[tuple[str, Option], ...]

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits, equal on every machine; equal if and only if the architecture is."""
        text = json.dumps([self.space, self.choices], separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def _by_name(self) -> dict[str, Option]:
        return dict(self.choices)

    def __getitem__(self, name: str) -> Option:
        try:
            return self._by_name[name]
        except KeyError:
            raise InvalidArchitecture(
                f"choice {name!r} is not active in {self}; .get({name!r}) gives None for inactive choices"
            ) from None

    def get(self, name: str, default: Option | None = None) -> Option | None:
        """The value of choice ``name``, or ``default`` where it is inactive."""
        return self._by_name.get(name, default)

    def to_dict(self) -> dict[str, Option]:
        """Name -> value of the active choices."""
        return dict(self.choices)

    def to_json(self) -> dict[str, Any]:
        """Plain data; :meth:`from_json` reads it back."""
        return {"space": self.space, "choices": [[n, list(v) if isinstance(v, tuple) else v] for n, v in self.choices]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Architecture:
        """The inverse of :meth:`to_json`.

        Raises:
            DamagedFile: when ``data`` has another form.
        """
        with reading("an architecture", data, _Written):
            found = cls(data["space"], tuple((n, tuple(v) if isinstance(v, list) else v) for n, v in data["choices"]))
            if len(found._by_name) < len(found.choices) or not found.key:
                raise ValueError("it names a choice twice")
        return found

    def __str__(self) -> str:
        return " ".join(f"{n}={_short(v)}" for n, v in self.choices)


def _short(value: Option) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class Proposal:
    """What a strategy asks to have evaluated.

    Args:
        architecture: the network.
        fidelity: how much to spend on it, such as ``{"epochs": 3}``; empty means a full evaluation.
        parent: key of the architecture that it was derived from, where there is one.
        extras: what else the strategy wants back with the result; plain JSON data.
    """

    architecture: Architecture
    fidelity: Mapping[str, float | str] = field(default_factory=lambda: MappingProxyType({}))
    parent: str | None = None
    extras: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def to_json(self) -> dict[str, Any]:
        """Plain data; :meth:`from_json` reads it back."""
        return {
            "architecture": self.architecture.to_json(),
            "fidelity": dict(self.fidelity),
            "parent": self.parent,
            "extras": dict(self.extras),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Proposal:
        """The inverse of :meth:`to_json`.

        Raises:
            DamagedFile: when ``data`` has another form.
        """
        with reading("a proposal", data, _Asked):
            return cls(
                Architecture.from_json(data["architecture"]),
                MappingProxyType(dict(data["fidelity"])),
                data["parent"],
                MappingProxyType(dict(data["extras"])),
            )

    @property
    def fidelity_key(self) -> str:
        """The fidelity as canonical text; empty for a full evaluation."""
        return json.dumps(dict(sorted(self.fidelity.items()))) if self.fidelity else ""
