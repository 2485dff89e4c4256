"""Published pickles, read safely: only numbers, text, containers and NumPy's scalars.

A pickle is a program. Here it may name two functions of NumPy, and gets harmless replacements for both, which take
numbers and cannot be changed. It cannot build or change any object of NumPy.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np

from archsmith.errors import InvalidData

_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")


class _Kind:
    """In place of a NumPy type of numbers."""

    __slots__ = ("dtype",)

    def __init__(self, text: object, *_: object) -> None:
        dtype = np.dtype(text) if isinstance(text, str) and len(text) <= 3 else None
        if dtype is None or dtype.kind not in "biuf":
            raise pickle.UnpicklingError("it holds something other than numbers")
        self.dtype = dtype

    def __setstate__(self, state: object) -> None:
        """Take only the byte order from the state of a type."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Named:
    """Replaces a name in a pickle: it can be called, and nothing else."""

    __slots__ = ("_make",)

    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(self, *arguments: object) -> object:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes what it names")


class _Unpickler(pickle.Unpickler):
    """Knows the two names that a NumPy scalar needs, and refuses all others."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "dtype"):
            return _Named(_Kind)
        if module in _MODULES and name == "scalar":
            return _Named(_scalar)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which plain numbers do not need")


def _scalar(kind: object, data: object = b"") -> Any:
    """The number that a NumPy scalar of the pickle stands for."""
    if not isinstance(kind, _Kind) or not isinstance(data, bytes):
        raise pickle.UnpicklingError("it holds something other than numbers")
    return np.frombuffer(data, dtype=kind.dtype, count=1)[0].item()


def read_plain_pickle(data: bytes, where: str) -> dict[Any, Any]:
    """The dictionary in a pickle of plain values.

    Raises:
        InvalidData: for a pickle that names anything but NumPy's scalars, or is none.
    """
    try:
        _check_numbering(data)
        found = _Unpickler(io.BytesIO(data), encoding="latin-1").load()
    except Exception as error:  # a malformed pickle can raise any of these
        raise InvalidData(f"{where} is not read: {error}; fetch it anew from its publisher") from error
    if not isinstance(found, dict):
        raise InvalidData(f"{where} holds {type(found).__name__}, not a dictionary; fetch it anew from its publisher")
    return found


def _check_numbering(data: bytes) -> None:
    """Refuse a pickle that stores a value under a memo number that is too high for its length.

    Python allocates a place for every lower number: eight bytes of a file could take gigabytes.
    """
    for done, (code, number, _) in enumerate(pickletools.genops(data)):
        if code.name in _PUTS and int(number or 0) > done:
            raise pickle.UnpicklingError("it numbers what it holds wrongly")
