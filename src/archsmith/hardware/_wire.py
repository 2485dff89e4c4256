"""What the agent and the remote device say to each other: HTTP, JSON, and NumPy's own files for networks and arrays.

====== ================ ============================================== ==================================
verb   path             sent                                           answered
====== ================ ============================================== ==================================
GET    /device          -                                              what is measured on there
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
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import InvalidOption, MeasurementFailed
from archsmith.files import home_folder
from archsmith.npz import read_npz

VERSION = 1
PORT = 7465
TOKEN, TOKEN_FILE = "ARCHSMITH_AGENT_TOKEN", "ARCHSMITH_AGENT_TOKEN_FILE"


def pack(arrays: Sequence[NDArray[Any]], content: bytes | None = None) -> bytes:
    """Arrays in order, and the content of a file, as one archive.

    Raises:
        MeasurementFailed: for an array of Python objects, such as text, which does not travel.
    """
    if any(array.dtype.hasobject for array in arrays):
        raise MeasurementFailed("the network takes or gives arrays of objects (text, say), which are not sent")
    parts: dict[str, Any] = {f"array_{i}": array for i, array in enumerate(arrays)}
    if content is not None:
        parts["content"] = np.frombuffer(content, dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **parts)
    return buffer.getvalue()


def unpack(data: bytes, *, most: int) -> tuple[list[NDArray[Any]], bytes | None]:
    """The inverse of :func:`pack`; nothing in it is executed.

    Args:
        data: the archive.
        most: bytes that it may hold once unpacked.

    Raises:
        InvalidData: when it is no such archive, or unpacks to more.
    """
    found = read_npz(data, most=most, what="archive of a network and its inputs")
    arrays = [found[name] for i in range(len(found)) if (name := f"array_{i}") in found]
    return arrays, found["content"].tobytes() if "content" in found else None


def token_path() -> Path:
    """Where the token is kept unless ``ARCHSMITH_AGENT_TOKEN`` holds it."""
    return Path(os.environ.get(TOKEN_FILE) or home_folder() / "agent.token")


def known_token(address: str) -> str:
    """What this machine knows as the token of the agent at ``address``; empty where it knows none.

    ``ARCHSMITH_AGENT_TOKEN``, else a line ``HOST:PORT TOKEN`` or one with a token only, in the token's file.

    Raises:
        InvalidOption: when the file cannot be read.
    """
    if given := os.environ.get(TOKEN, "").strip():
        return given
    path = token_path()
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise InvalidOption(f"the token of agents cannot be read from {path}: {error}") from error
    for words in lines:
        if words[0] == address and len(words) == 2:
            return words[1]
    return next((words[0] for words in lines if len(words) == 1), "")
