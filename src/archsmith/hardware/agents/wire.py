"""The protocol between agent and remote device: HTTP, JSON, and NumPy's archives for networks and arrays.

====== ================ ============================================== ==================================
verb   path             request                                        response
====== ================ ============================================== ==================================
GET    /device          -                                              the device that is measured on
POST   /reference       ``{"anchor_ms": ... or null}``                 ``{"anchor_ms": ..., "messages"}``
POST   /networks        an archive of the file and its example inputs  ``{"network": its digest}``
POST   /run             ``{"network": ...}``                           an archive of the outputs
POST   /measure         ``{"network", "effort", "anchor_ms"}``         a measurement
POST   /memory          as ``/networks``                               ``{"peak_mib": ...}``
====== ================ ============================================== ==================================

Every request carries ``Authorization: Bearer TOKEN``. A refusal is ``{"error": KIND, "message": ...}``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import (
    ArchsmithError,
    DamagedFile,
    DeviceLost,
    EvaluationFailed,
    InvalidData,
    InvalidModel,
    InvalidOption,
    MeasurementFailed,
    MissingExtra,
    RunLocked,
    StorageFull,
    UnknownName,
    UserError,
)
from archsmith.npz import read_npz

VERSION = 1
PORT = 7465
LONGEST_LIMIT_S, LARGEST_MIB = 86_400.0, 4096
"""Largest values of an agent's ``limit_s`` and ``max_mib``; ONNX files have 2 GiB or less."""
LARGEST_BATCH = 1 << 16
LEAST_BYTES_PER_S = 1 << 17
"""Slowest transfer between search and agent, in bytes a second; a slower one is ended."""
SLACK_S = 60.0
"""Seconds for the way to the agent and back, beside the time for the work itself."""
ERROR_KINDS: Mapping[str, type[ArchsmithError]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            *(UserError, UnknownName, InvalidOption, InvalidModel, InvalidData, DamagedFile, MissingExtra, RunLocked),
            *(EvaluationFailed, MeasurementFailed, DeviceLost, StorageFull),
        )
    }
)
"""Name -> error that an agent may report; any other name becomes ``MeasurementFailed``."""


def error_of(name: str, message: str) -> ArchsmithError:
    """The error that an agent reports."""
    return ERROR_KINDS.get(name, MeasurementFailed)(message)


def transfer_s(size: int) -> float:
    """Seconds that sending ``size`` bytes may take."""
    return SLACK_S + size / LEAST_BYTES_PER_S


def pack(arrays: Sequence[NDArray[Any]], content: bytes | None = None) -> bytes:
    """Arrays in order, and the content of a file, as one archive.

    Raises:
        MeasurementFailed: for an array of Python objects, such as text.
    """
    if any(array.dtype.hasobject for array in arrays):
        raise MeasurementFailed("the network takes or returns arrays of objects (text, say), which are not sent")
    parts: dict[str, Any] = {f"array_{i}": array for i, array in enumerate(arrays)}
    if content is not None:
        parts["content"] = np.frombuffer(content, dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **parts)
    return buffer.getvalue()


def unpack(data: bytes, *, most: int) -> tuple[list[NDArray[Any]], bytes | None]:
    """The inverse of :func:`pack`; nothing in the archive is executed.

    Args:
        data: the archive.
        most: bytes that it may hold once unpacked.

    Raises:
        InvalidData: when it is no such archive, or unpacks to more.
    """
    found = read_npz(data, most=most, what="archive of a network and its inputs")
    arrays = [found[name] for i in range(len(found)) if (name := f"array_{i}") in found]
    return arrays, found["content"].tobytes() if "content" in found else None
