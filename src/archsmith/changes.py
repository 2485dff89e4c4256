"""The differences between two pieces of plain data, for messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SHOWN_CHARACTERS = 120
"""Characters of a value that a message shows."""


def differences(then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Every field that differs, as ``name: then -> now``, nested ones with dots.

    >>> differences({"lr": 0.1, "data": {"seed": 0}}, {"lr": 0.2, "data": {"seed": 0}})
    ['lr: 0.1 -> 0.2']
    """
    now = json.loads(json.dumps(dict(now)))  # tuples are lists once they are stored
    found: list[str] = []
    for name in [*then, *(n for n in now if n not in then)]:
        a, b = then.get(name), now.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b or (name in then) != (name in now):
            found.append(f"{prefix}{name}: {_brief(a)} -> {_brief(b)}")
    return found


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 15]}... ({len(text)} characters)"
