"""Checks of options against their ranges."""

from __future__ import annotations

from collections.abc import Sequence

from archsmith.errors import InvalidOption
from archsmith.metric import Objective


def whole(name: str, value: int, *, least: int, most: int = 10**6) -> int:
    """``value``, a whole number from ``least`` to ``most``.

    Raises:
        InvalidOption: naming the option and its range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidOption(f"{name}={value!r} is not a whole number from {least} to {most}")
    return value


def number(name: str, value: float, *, least: float = 0.0, most: float) -> float:
    """``value``, a number from ``least`` to ``most``.

    Raises:
        InvalidOption: naming the option and its range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidOption(f"{name}={value!r} is not a number from {least:g} to {most:g}")
    return float(value)


def one_objective(objectives: Sequence[Objective], strategy: str) -> None:
    """Refuse several objectives; none at all is refused by every history.

    Raises:
        InvalidOption: for several, with the way out.
    """
    if len(objectives) > 1:
        raise InvalidOption(
            f"{strategy} searches for one objective, got {len(objectives)}: {', '.join(map(str, objectives))}; make "
            "all but one a limit, or take a strategy for several, such as nsga2"
        )
