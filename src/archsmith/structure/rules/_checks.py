"""Checks that all rules share."""

from __future__ import annotations

from archsmith.errors import InvalidModel
from archsmith.structure.axes import Axis, AxisLike, Elastic, as_axis


def axis_of(where: str, side: str, given: AxisLike | None, actual: int) -> Axis | None:
    """The axis given for one side of a module, checked against its size there.

    Raises:
        InvalidModel: where the sizes differ.
    """
    if given is None:
        return None
    axis = as_axis(given)
    if axis.full != actual:
        raise InvalidModel(
            f"{where}: {side}={axis} has size {axis.full} at its largest, but the module has {actual}; "
            "the largest option of a Width is the size in the model"
        )
    return axis


def refuse_fields(where: str, kind: str, elastic: Elastic, *allowed: str) -> None:
    """Refuse dimensions that an operator family does not have.

    Raises:
        InvalidModel: naming the field and those allowed.
    """
    for name in ("out", "into", "over", "kernel"):
        if getattr(elastic, name) is not None and name not in allowed:
            raise InvalidModel(f"{where}: a {kind} has no {name!r} dimension; give {' or '.join(allowed)}")
