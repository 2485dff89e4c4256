"""Options of elasticity as texts and plain data: ``--elastic NAME=VALUE``, ``Job(elastic={...})``."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from torch import nn

from archsmith.discovery.elasticity import Elasticity, Sizes
from archsmith.errors import InvalidOption
from archsmith.structure.choices import ChoiceModule
from archsmith.supernet import Supernet

OPTION_NAMES = tuple(f.name for f in fields(Elasticity) if f.name != "options")
"""Named options of :func:`archsmith.elastic`; its ``options`` are given one by one, by pattern."""
_HINTS = get_type_hints(Elasticity)
_PATTERN_CHARACTERS = frozenset(".*?[")
"""Characters that tell a pattern of choices from the name of an option."""


def read_elastic(texts: Sequence[str]) -> dict[str, Any]:
    """Options of :func:`archsmith.elastic` from texts ``NAME=VALUE``, as plain data.

    ``NAME`` is one of its options, or a pattern of choices (with a dot or a star in it), whose ``VALUE`` are sizes or
    shares. Patterns of ``only``, ``freeze`` and ``tie`` may be given one by one; everything else is given once.

    Raises:
        InvalidOption: naming the text, what is wrong with it, and the options there are.

    >>> read_elastic(["width=0.5,1", "freeze=head", "freeze=stem", "*.heads=2,4"])
    {'width': [0.5, 1.0], 'freeze': ['head', 'stem'], 'options': {'*.heads': [2, 4]}}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name or not value:
            raise InvalidOption(f"cannot read --elastic {text!r}; write NAME=VALUE, such as width=0.5,0.75,1.0")
        patterned = not _PATTERN_CHARACTERS.isdisjoint(name)
        key = name if patterned else _known(name)
        place = found.setdefault("options", {}) if patterned else found
        parsed = _parsed(key, Sizes if patterned else _HINTS[key], value)
        if key in place and (patterned or _HINTS[key] != Sequence[str]):
            raise InvalidOption(f"--elastic {key} is given twice, the second time as {text!r}; give it once")
        place[key] = [*place.get(key, ()), *parsed] if isinstance(parsed, list) else parsed
    return plain_elastic(found)


def plain_elastic(given: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """Options of :func:`archsmith.elastic`, or texts of them, as JSON data; checked as far as possible without a model.

    Raises:
        InvalidOption: for an unknown option, or a value that it cannot have.
    """
    if not isinstance(given, Mapping):
        return read_elastic(given)
    for name in given:
        if name != "options":
            _known(name)
    try:
        Elasticity(**given)
    except TypeError as error:
        values = ", ".join(f"{k}={v!r}" for k, v in given.items())
        raise InvalidOption(f"a value among {values} is of a wrong type: {error}; see archsmith.elastic") from error
    single = given.get("options", {})
    return {
        **{name: _plain(value) for name, value in given.items() if name != "options"},
        **({"options": {pattern: list(sizes) for pattern, sizes in single.items()}} if single else {}),
    }


def check_takes(name: str, network: nn.Module | None, given: Mapping[str, Any]) -> None:
    """Refuse options of elasticity for a network that declares itself what is elastic.

    Args:
        name: the network's name, for the message.
        network: built, or ``None`` for one that is known to be a supernet.
        given: the options; without any, every network is accepted.

    Raises:
        InvalidOption: naming the options and where to set them instead.
    """
    if not given:
        return
    asked = ", ".join(given)
    if network is None or isinstance(network, Supernet):
        raise InvalidOption(
            f"{name} is a supernet already, so elastic options ({asked}) have no effect on it; leave them out, or take "
            "a plain module. A supernet's choices are set where it is built (--model-option)"
        )
    if any(isinstance(module, ChoiceModule) for module in network.modules()):
        raise InvalidOption(
            f"{name} contains choice modules, which declare what is elastic, so elastic options ({asked}) have no "
            "effect on it; leave them out"
        )


def _known(name: str) -> str:
    key = name.replace("-", "_")
    if key in OPTION_NAMES:
        return key
    near = difflib.get_close_matches(key, OPTION_NAMES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise InvalidOption(
        f"elastic has no option {name!r}{hint} It has: {', '.join(OPTION_NAMES)}. Give sizes of single choices by a "
        "pattern with a dot or a star, such as '*.heads=2,4' or 'hidden*=32,64'"
    )


def _parsed(name: str, kind: Any, text: str) -> Any:
    """The value of one option, read by its type."""
    parts = [part.strip() for part in text.split(",")]
    if kind == Sequence[str]:
        return [part for part in parts if part]
    if kind == Sizes:
        numbers = [_number(name, part, "sizes (32,64) or shares of the full size (0.5,1.0)") for part in parts]
        return _shares(numbers, alone=name in OPTION_NAMES)
    if kind is bool:
        return _one_of(name, text, {"true": True, "false": False})
    none = {}
    if NoneType in get_args(kind):
        none, [kind] = {"none": None}, [k for k in get_args(kind) if k is not NoneType]
    if text.lower() in none:
        return None
    if get_origin(kind) is Literal:
        return _one_of(name, text, {str(v): v for v in get_args(kind)} | none)
    return _scalar(name, text, kind)


def _scalar(name: str, text: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise InvalidOption(f"--elastic {name} is {what}, got {text!r}") from None


def _number(name: str, text: str, what: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise InvalidOption(f"--elastic {name} takes {what}, got {text!r}")


def _shares(numbers: list[int | float], *, alone: bool) -> list[int | float]:
    """Read a ``1`` among shares as ``1.0``, the full size.

    Args:
        numbers: as they were read.
        alone: whether a single ``1`` is a share, too: it is for options such as ``width``; for a single choice, such as
            a depth, it is a size.
    """
    shares = any(isinstance(n, float) for n in numbers) or (alone and set(numbers) == {1})
    return [float(n) if shares and n == 1 else n for n in numbers]


def _one_of(name: str, text: str, known: Mapping[str, Any]) -> Any:
    if text.lower() in known:
        return known[text.lower()]
    raise InvalidOption(f"--elastic {name} is one of {', '.join(known)}; got {text!r}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
