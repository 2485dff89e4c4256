"""Labels of any kind as 0..k-1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.data.base import SPLITS
from archsmith.errors import InvalidData


def number(
    labels: NDArray[Any], splits: NDArray[np.int8], classes: tuple[str, ...] | None, spec: str, noun: str = "image"
) -> tuple[NDArray[np.int64], tuple[str, ...], list[str]]:
    """Labels ``(n,)`` in ``0..k-1``, the classes' names, and a note where labels had to be renumbered.

    The classes are those of the training split; integers keep their order, names are sorted.

    Raises:
        InvalidData: for a single class, labels that are no classes, or classes that train lacks.
    """
    labels = _clean(labels, spec, noun)
    if not (splits == 0).any():
        raise InvalidData(f"{spec!r} has no training {noun}s")
    known = np.unique(labels[splits == 0])
    if len(known) < 2:
        raise InvalidData(f"{spec!r} has one class only, {known[0].item()!r}: there is nothing to tell apart")
    for code in (1, 2):
        if len(strange := np.setdiff1d(labels[splits == code], known)):
            raise InvalidData(
                f"the {SPLITS[code]} split of {spec!r} has classes that train lacks: {_some(strange)}; "
                f"add training {noun}s of them or remove them"
            )
    names = tuple(map(str, known.tolist()))
    notes = []
    if labels.dtype.kind in "iu":
        if classes is not None and known[0] >= 0 and known[-1] < len(classes):
            names = tuple(classes[i] for i in known)
        if known[0] != 0 or known[-1] != len(known) - 1:
            notes.append(f"labels {_some(known)} were numbered 0..{len(known) - 1} in this order")
    return np.searchsorted(known, labels).astype(np.int64), names, notes


def _clean(labels: NDArray[Any], spec: str, noun: str) -> NDArray[Any]:
    """The labels as integers or text."""
    if labels.dtype.kind == "O":
        if any(value is None for value in labels):
            raise InvalidData(f"{spec!r} has {noun}s without a label; remove them or give them one")
        labels = np.array(labels.tolist())
    if labels.dtype.kind == "f":
        if not (np.isfinite(labels) & (labels == np.rint(labels))).all():
            raise InvalidData(f"labels of {spec!r} are not whole numbers ({_some(labels[:3])}); labels name classes")
        return labels.astype(np.int64)
    if labels.dtype.kind in "bS":
        return labels.astype(np.int64 if labels.dtype.kind == "b" else np.str_)
    if labels.dtype.kind not in "iuU":
        raise InvalidData(f"labels of {spec!r} are of type {labels.dtype}; labels are integers or names")
    return labels


def _some(values: NDArray[Any]) -> str:
    shown = ", ".join(map(str, values[:5].tolist()))
    return shown + (f" ... {values[-1].item()}" if len(values) > 5 else "")
