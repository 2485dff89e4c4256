"""The file of a table: a checksummed header and aligned arrays, memory-mapped; never a pickle.

=======  ==========================================================================
bytes    what
=======  ==========================================================================
0-15     ``archsmith.table`` and a line feed
16-23    version of this form
24-31    length of the header
32-63    SHA-256 of bytes 16 to 31 and the header
64-...   header: JSON padded with blanks; arrays with their places, SHA-256 of the payload
...      payload: the arrays, each from a multiple of 64 bytes on, as little-endian numbers
=======  ==========================================================================
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypedDict

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import DamagedFile, MissingTable
from archsmith.files import misfit, parsed_json, replacing

MAGIC = b"archsmith.table\n"
VERSION = 1
_ALIGNED = 64
_PREFIX = 64
_PLACED = ("dtype", "shape", "offset")


class _Place(TypedDict):
    dtype: str
    shape: list[int]
    offset: int


class _Header(TypedDict):
    """The header as JSON; the benchmark adds entries of its own."""

    arrays: dict[str, _Place]
    bytes: int
    sha256: str


@dataclass(frozen=True)
class TableFile:
    """The contents of a file.

    Args:
        header: plain data about the arrays.
        arrays: read-only views of the mapped file.
        sha256: of the payload.
    """

    header: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    sha256: str


def write(path: Path, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a table, whole or not at all; equal contents give equal bytes."""
    places: dict[str, Any] = {}
    parts: list[bytes] = []
    end = 0
    for name, array in arrays.items():
        data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        places[name] = {"dtype": array.dtype.newbyteorder("<").str, "shape": list(array.shape), "offset": end}
        parts.append(data + bytes(-len(data) % _ALIGNED))
        end += len(parts[-1])
    payload = b"".join(parts)
    about = {**header, "arrays": places, "bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
    text = json.dumps(about, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % _ALIGNED)
    sizes = VERSION.to_bytes(8, "little") + len(text).to_bytes(8, "little")
    with replacing(path) as temporary, temporary.open("wb") as file:
        for part in (MAGIC, sizes, hashlib.sha256(sizes + text).digest(), text, payload):
            file.write(part)


def read(path: Path, *, again: str) -> TableFile:
    """Map a table into memory; every byte of it is checked.

    Args:
        path: of the file.
        again: how to make the file again, for messages.

    Raises:
        MissingTable: when there is no such file.
        DamagedFile: when it is truncated, changed, of another kind or of a newer version.
    """

    def refuse(why: str) -> NoReturn:
        raise DamagedFile(f"the table {path} {why}. {again}")

    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no file")
        mapped = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    except FileNotFoundError:
        raise MissingTable(f"there is no table {path}. {again}") from None
    except (OSError, ValueError) as error:
        refuse(f"cannot be read ({error})")
    prefix = mapped[:_PREFIX].tobytes()
    if not prefix.startswith(MAGIC):
        refuse("is no table of archsmith's")
    if len(prefix) < _PREFIX:
        refuse("is cut off")
    version, length = (int.from_bytes(prefix[i : i + 8], "little") for i in (16, 24))
    if version > VERSION and version < 2**16:
        refuse(f"has form {version}, newer than {VERSION}, which this archsmith reads; update archsmith")
    text = mapped[_PREFIX : min(_PREFIX + length, len(mapped))].tobytes()
    if hashlib.sha256(prefix[16:32] + text).digest() != prefix[32:]:
        refuse("is damaged: its header does not fit its checksum")
    try:
        return _contents(text, mapped[_PREFIX + length :])
    except (ValueError, TypeError, OverflowError) as error:
        refuse(f"is damaged: {error}")


def _contents(text: bytes, payload: NDArray[np.uint8]) -> TableFile:
    """The arrays that a header describes in the bytes after it.

    Raises:
        ValueError: when they do not fit.
    """
    header = parsed_json(text)
    if wrong := misfit(header, _Header):
        raise ValueError(f"its header is of another form ({wrong})")
    if len(payload) != header["bytes"]:
        raise ValueError(f"{len(payload):,} bytes of data instead of {header['bytes']:,}")
    if hashlib.sha256(payload.data).hexdigest() != header["sha256"]:
        raise ValueError("its data do not fit their checksum")
    arrays = {name: _view(payload, **{key: place[key] for key in _PLACED}) for name, place in header["arrays"].items()}
    return TableFile(header, arrays, header["sha256"])


def _view(payload: NDArray[np.uint8], dtype: str, shape: list[int], offset: int) -> NDArray[Any]:
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if kind.kind not in "biuf" or min([offset, *shape]) < 0 or offset + size > len(payload):
        raise ValueError(f"an array of {shape} {dtype} from {offset} on lies outside of it, or holds no numbers")
    view: NDArray[Any] = payload[offset : offset + size].view(kind).reshape(shape)
    return view if sys.byteorder == "little" else view.astype(kind.newbyteorder("="))
