"""Published pickles, read so that they can do nothing: numbers, text, containers and NumPy's scalars only."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from archsmith.errors import InvalidData

_ALLOWED = {
    (module, name) for module in ("numpy.core.multiarray", "numpy._core.multiarray") for name in ("scalar",)
} | {("numpy", "dtype")}


class _Unpickler(pickle.Unpickler):
    """Knows the two names that a NumPy scalar needs, and refuses all others."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which plain numbers do not need")
        return np.dtype if name == "dtype" else _scalar


def _scalar(kind: np.dtype[Any], data: object = b"") -> Any:
    """The number that a NumPy scalar of the pickle stands for."""
    if not isinstance(kind, np.dtype) or kind.kind not in "biuf" or not isinstance(data, bytes):
        raise pickle.UnpicklingError("it holds something other than numbers")
    return np.frombuffer(data, dtype=kind, count=1)[0].item()


def read_plain_pickle(data: bytes, where: str) -> dict[Any, Any]:
    """The dictionary in a pickle of plain values.

    Raises:
        InvalidData: for a pickle that names anything but NumPy's scalars, or is none.
    """
    try:
        found = _Unpickler(io.BytesIO(data), encoding="latin-1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise InvalidData(f"{where} is not read: {error}; fetch it anew from its publisher") from error
    if not isinstance(found, dict):
        raise InvalidData(f"{where} holds {type(found).__name__}, not a dictionary; fetch it anew from its publisher")
    return found
