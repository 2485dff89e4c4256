"""What asks for a supernet and is given something else."""

from __future__ import annotations

from archsmith.errors import InvalidModel
from archsmith.supernet.supernet import Supernet


def refuse_plain(given: object, purpose: str) -> None:
    """Refuse what is no supernet, such as the module that one is made of.

    Args:
        given: as the user gave it.
        purpose: what needs a supernet, as the start of a sentence.

    Raises:
        InvalidModel: with the way out.

    >>> refuse_plain(3, "training")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    archsmith.errors.InvalidModel: training needs a supernet, got int; ...
    """
    if not isinstance(given, Supernet):
        raise InvalidModel(
            f"{purpose} needs a supernet, got {type(given).__name__}; make one of a module with "
            "smith.elastic(model, example_inputs)"
        )
