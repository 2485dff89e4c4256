"""The refusal of everything that is no supernet where one is needed."""

from __future__ import annotations

from archsmith.errors import InvalidModel
from archsmith.supernet.supernet import Supernet


def refuse_plain(given: object, purpose: str) -> None:
    """Refuse everything but a supernet, such as the plain module.

    Args:
        given: as the user gave it.
        purpose: what needs a supernet; the message begins with it.

    Raises:
        InvalidModel: saying how to make one.

    >>> refuse_plain(3, "training")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    archsmith.errors.InvalidModel: training needs a supernet, got int; ...
    """
    if not isinstance(given, Supernet):
        raise InvalidModel(
            f"{purpose} needs a supernet, got {type(given).__name__}; make one of a module with "
            "smith.elastic(model, example_inputs)"
        )
