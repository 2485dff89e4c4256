"""Ranges of options, in one voice."""

from __future__ import annotations

from archsmith.errors import InvalidOption


def whole(name: str, value: int, *, least: int, most: int = 10**6) -> int:
    """``value``, a whole number from ``least`` to ``most``.

    Raises:
        InvalidOption: naming the option and its range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidOption(f"{name}={value!r} is not a whole number from {least} to {most}")
    return value


def number(name: str, value: float, *, most: float) -> float:
    """``value``, a number from 0 to ``most``.

    Raises:
        InvalidOption: naming the option and its range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise InvalidOption(f"{name}={value!r} is not a number from 0 to {most:g}")
    return float(value)
