"""Checks of plain data from files: data of a wrong form become one kind of error."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from archsmith.errors import ABORTS_SEARCH, ArchsmithError, DamagedFile
from archsmith.files import misfit

_DATA_ERRORS = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""Python's errors for a value of unexpected type, size or depth; ``UserError`` is a ``ValueError``."""


@contextmanager
def reading(what: str, data: Any, form: Any = Any, *, raising: type[ArchsmithError] = DamagedFile) -> Iterator[None]:
    """Build something from plain data in this block; whatever is wrong with the data is raised as one error.

    Args:
        what: what is built, with its article: ``"an architecture"``.
        data: what it is built from.
        form: the type that the data must have, such as a ``TypedDict``; further names are allowed.
        raising: the error to raise.

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
    except (*_DATA_ERRORS, ArchsmithError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, LookupError) else str(error)
        raise raising(f"not {what}: {brief(data)} ({reason[:_REASON_CHARACTERS]})") from error
    raise raising(f"not {what}: {brief(data)} ({wrong[:_REASON_CHARACTERS]})")


_REASON_CHARACTERS = 400
"""Characters of a reason that a message shows; names in the data may be long."""


def brief(data: Any) -> str:
    """The beginning of plain data, however long or deep.

    >>> brief({"a": list(range(100))})
    "{'a': [0, 1, 2, 3, 4, 5, ...]}"
    """
    try:
        return reprlib.repr(data)[:80]
    except (RecursionError, ValueError):  # ValueError: whole numbers of thousands of digits
        return "data that cannot be shown"


def check_text(text: str, what: str) -> None:
    """Refuse text that UTF-8 cannot hold, such as a lone surrogate from JSON.

    Raises:
        ValueError: naming ``what`` it is.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} {text[:40]!a} holds half a letter") from None
