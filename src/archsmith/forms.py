"""Plain data from files that somebody else wrote: of the right form, or refused in one way."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from archsmith.errors import ABORTS_SEARCH, ArchsmithError, DamagedFile
from archsmith.files import misfit

_WRONG = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What Python raises where a value is of another type, size or depth than code expects; ``UserError`` among them."""


@contextmanager
def reading(what: str, data: Any, form: Any = Any, *, raising: type[ArchsmithError] = DamagedFile) -> Iterator[None]:
    """Build something from plain data in this block; what is wrong with it becomes one error.

    Args:
        what: it should be, with its article: ``"an architecture"``.
        data: that it is built from.
        form: the type that the data must have, such as a ``TypedDict``; names that it does not have are let be.
        raising: the error.

    Raises:
        DamagedFile: or ``raising``, with the beginning of the data and what is wrong.
    """
    try:
        wrong = misfit(data, form)
        if not wrong:
            yield
            return
    except ABORTS_SEARCH:
        raise
    except (*_WRONG, ArchsmithError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, LookupError) else str(error)
        raise raising(f"not {what}: {brief(data)} ({reason[:_LONGEST]})") from error
    raise raising(f"not {what}: {brief(data)} ({wrong[:_LONGEST]})")


_LONGEST = 400
"""Characters of a reason; names in the data may be long."""


def brief(data: Any) -> str:
    """The beginning of plain data, however long or deep.

    >>> brief({"a": list(range(100))})
    "{'a': [0, 1, 2, 3, 4, 5, ...]}"
    """
    try:
        return reprlib.repr(data)[:80]
    except (RecursionError, ValueError):  # whole numbers of thousands of digits
        return "data that cannot be shown"


def check_text(text: str, what: str) -> None:
    """Refuse text that no file can hold: JSON can write halves of letters, UTF-8 cannot.

    Raises:
        ValueError: naming ``what`` it is.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} {text[:40]!a} holds half a letter") from None
