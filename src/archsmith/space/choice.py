"""A choice: a named decision with an ordered, finite list of options."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any, Literal, TypedDict, get_args

import numpy as np

from archsmith.architecture import Option
from archsmith.errors import InvalidSpace
from archsmith.forms import check_text, reading

Kind = Literal["ordinal", "categorical", "subset"]
Condition = tuple[str, tuple[Option, ...]]

MOST_OPTIONS = 32767  # option indices are int16
_INTEGER_BOUND = 2**63
"""Bound of whole-number options: every table that holds options can store smaller numbers."""

_Plain = int | float | str | bool | list[int | str]


class _Written(TypedDict):
    """A choice as JSON."""

    name: str
    options: list[_Plain]
    kind: Kind
    when: tuple[str, list[_Plain]] | None
    owner: str


@dataclass(frozen=True)
class Choice:
    """A named decision with an ordered, finite list of options.

    Args:
        name: unique within its space, such as ``"stage2.width"``.
        options: what it may be; ascending numbers for ordinal choices.
        kind: ``"ordinal"`` (options have an order that matters), ``"categorical"`` or ``"subset"``.
        when: ``(other, values)``: active only if the choice ``other`` is active and has one of ``values``.
            ``other`` is declared earlier in the space. ``None`` means always active.
        owner: which part of the system uses it; products of spaces keep it.

    Raises:
        InvalidSpace: for no options, duplicate or unsuitable ones.

    >>> Choice("depth", (1, 2, 3)).index(2)
    1
    """

    name: str
    options: tuple[Option, ...]
    kind: Kind = "ordinal"
    when: Condition | None = None
    owner: str = "supernet"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidSpace(f"a choice needs a name that is text, got {self.name!r}")
        _plain(self.name, self.name)
        if self.kind not in get_args(Kind):
            raise InvalidSpace(f"choice {self.name!r}: kind is one of {', '.join(get_args(Kind))}, got {self.kind!r}")
        object.__setattr__(self, "options", tuple(_plain(o, self.name) for o in _listed(self.options, self.name)))
        self._check_options()
        if self.when is not None:
            object.__setattr__(self, "when", _condition(self.when, self.name))

    def _check_options(self) -> None:
        where = f"choice {self.name!r}"
        if not self.options:
            raise InvalidSpace(f"{where} has no options; give at least one")
        if len(self.options) > MOST_OPTIONS:
            raise InvalidSpace(f"{where} has {len(self.options)} options; at most {MOST_OPTIONS} fit, split the choice")
        twice = [o for i, o in enumerate(self.options) if self._positions[o] != i]
        if twice:
            raise InvalidSpace(f"{where} has the option {twice[0]!r} more than once (1, 1.0 and True are one value)")
        if (self.kind == "subset") != all(isinstance(o, tuple) for o in self.options):
            raise InvalidSpace(f"{where}: options of a subset choice are tuples; build it with Subset(name, items, k)")
        if self.kind == "ordinal" and any(isinstance(o, str | tuple) for o in self.options):
            raise InvalidSpace(f"{where}: ordinal options are numbers, got {self.options}; say kind='categorical'")
        if self.kind == "ordinal" and list(self.options) != sorted(self.options):
            raise InvalidSpace(f"{where}: ordinal options ascend, got {self.options}; sort them")

    @cached_property
    def _positions(self) -> dict[object, int]:
        return {o: i for i, o in reversed(list(enumerate(self.options)))}

    @property
    def numeric(self) -> bool:
        """Whether all options are numbers (truth values count as 0 and 1)."""
        return all(isinstance(o, int | float) for o in self.options)

    def index(self, value: object) -> int | None:
        """Position of the option ``value``, or ``None`` where it is none of them."""
        if isinstance(value, list):
            value = tuple(value)
        try:
            return self._positions.get(value)
        except TypeError:  # not hashable, so not an option
            return None

    def nearest(self, value: object) -> int | None:
        """Position of the option nearest to ``value``, or ``None`` where nearness means nothing.

        Numbers of an ordinal choice are near by distance (the smaller of two equally near), subsets by shared items.
        """
        index = self.index(value)
        if index is None and self.kind == "ordinal" and isinstance(value, int | float | np.number):
            return int(np.argmin(np.abs(np.array(self.options, dtype=np.float64) - float(value))))
        if index is None and self.kind == "subset" and isinstance(value, Iterable) and not isinstance(value, str):
            wanted = set(value)
            return int(np.argmax([len(wanted & set(o)) for o in self.options]))  # type: ignore[arg-type]
        return index

    def to_json(self) -> dict[str, Any]:
        """Plain data; :meth:`from_json` reads it back."""
        when = None if self.when is None else [self.when[0], [_json(v) for v in self.when[1]]]
        options = [_json(o) for o in self.options]
        return {"name": self.name, "options": options, "kind": self.kind, "when": when, "owner": self.owner}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Choice:
        """The inverse of :meth:`to_json`; a ``Subset`` comes back as the plain choice that it equals.

        Raises:
            DamagedFile: when ``data`` has another form.
        """
        with reading("a choice", data, _Written):
            when = data["when"]
            condition = None if when is None else (when[0], tuple(_option(v) for v in when[1]))
            options = tuple(_option(o) for o in data["options"])
            return Choice(data["name"], options, data["kind"], condition, data["owner"])


@dataclass(frozen=True, init=False, eq=False)
class Subset(Choice):
    """``k`` of the given items, as one choice whose options are the k-subsets in order.

    Raises:
        InvalidSpace: for duplicate items, a ``k`` outside 1..len(items), or too many subsets.

    >>> Subset("branches", ("a", "b", "c"), 2).options
    (('a', 'b'), ('a', 'c'), ('b', 'c'))
    """

    items: tuple[int | str, ...] = field(default=())
    k: int = 0

    def __init__(
        self,
        name: str,
        items: Iterable[int | str],
        k: int,
        when: Condition | None = None,
        owner: str = "supernet",
    ) -> None:
        items = tuple(items)
        if len(set(items)) < len(items):
            raise InvalidSpace(f"choice {name!r} lists an item more than once: {items}")
        if not 1 <= k <= len(items):
            raise InvalidSpace(f"choice {name!r} picks {k} of {len(items)} items; k lies between 1 and {len(items)}")
        if math.comb(len(items), k) > MOST_OPTIONS:
            raise InvalidSpace(f"choice {name!r} has {math.comb(len(items), k)} subsets; at most {MOST_OPTIONS} fit")
        object.__setattr__(self, "items", items)
        object.__setattr__(self, "k", k)
        super().__init__(name, tuple(combinations(items, k)), "subset", when, owner)


def _listed(given: object, name: str) -> tuple[object, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidSpace(f"choice {name!r}: options are a tuple of values, got {given!r}")
    return tuple(given)


def _plain(value: object, name: str) -> Option:
    """``value`` without NumPy's types, which JSON and keys do not know."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        try:
            check_text(value, "the text")
        except ValueError as error:
            raise InvalidSpace(f"choice {name[:40]!a}: {error}") from None
    if isinstance(value, int) and abs(value) >= _INTEGER_BOUND:
        raise InvalidSpace(f"choice {name!r}: whole numbers lie below 2**63, got one of {value.bit_length()} bits")
    if isinstance(value, tuple | list):
        parts = tuple(_plain(v, name) for v in value)
        if all(isinstance(v, int | str) for v in parts):
            return parts  # type: ignore[return-value]
    elif isinstance(value, int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise InvalidSpace(f"choice {name!r}: an option is a finite number, text or a tuple of such, got {value!r}")


def _condition(when: object, name: str) -> Condition:
    """``when`` in its one form; the space checks that it names a choice and its options."""
    if not (isinstance(when, tuple | list) and len(when) == 2 and isinstance(when[0], str)):
        raise InvalidSpace(f"choice {name!r}: a condition reads (choice, (value, ...)), got {when!r}")
    values = when[1] if isinstance(when[1], tuple | list) else (when[1],)
    if not values:
        raise InvalidSpace(f"choice {name!r} would never be active: its condition on {when[0]!r} lists no value")
    return when[0], tuple(_plain(v, name) for v in values)


def _json(value: Option) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _option(value: Any) -> Option:
    return tuple(value) if isinstance(value, list) else value
