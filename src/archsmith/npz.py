"""NumPy's archives of arrays (``.npz``), read without trusting them: what they claim is checked before it is allocated.

A header of a hundred bytes can claim a terabyte, and a megabyte of zeros unpacks to a gigabyte.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from archsmith.errors import InvalidData

MOST_MEMBERS = 1024
"""Arrays of one archive; example inputs and data sets have a few."""
LARGEST_DIRECTORY = 1 << 20
"""Bytes of the list of members at an archive's end, which is read as a whole."""
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
"""Version of the format -> reader of its header. Version 3 is only for structured arrays, which are refused."""


def read_npz(
    source: bytes | Path | str, *, most: int, what: str = "archive of arrays (.npz)"
) -> dict[str, NDArray[Any]]:
    """All arrays of an archive by their names, in its order.

    Args:
        source: the archive's bytes, or the path of a regular file.
        most: bytes that all arrays may hold together.
        what: what it should be, for the message.

    Raises:
        InvalidData: when it is no such archive, holds more, or holds objects; raised before anything is allocated.
    """
    with _blaming(source, what), _opened(source) as file:
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            check_npz(archive, most=most)
            return {info.filename.removesuffix(".npy"): _array(archive, info) for info in archive.infolist()}


def check_npz(archive: zipfile.ZipFile, *, most: int) -> None:
    """Check an archive's headers; no array is read.

    Args:
        archive: open for reading.
        most: bytes that all its members may hold together.

    Raises:
        InvalidData: when members are too many or too large, are no arrays of numbers, or have a header that does not
            fit their size.
    """
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise InvalidData(f"the archive has {len(members)} members, at most {MOST_MEMBERS} are taken")
    if len({info.filename for info in members}) < len(members):
        raise InvalidData("two members of the archive have the same name")
    size = sum(info.file_size for info in members)
    if size > most:
        raise InvalidData(f"the archive holds {size / 2**20:.1f} MiB, at most {most / 2**20:.1f} are taken")
    for info in members:
        if wrong := _wrong_with(archive, info):
            raise InvalidData(f"its member {info.filename[:80]!r} {wrong}; write it with numpy.savez")


def _wrong_with(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """Why a member is no array that may be read; empty where it is one."""
    if not info.filename.endswith(".npy"):
        return "is no array"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        return "is encrypted, or compressed in a way that NumPy does not write"
    with archive.open(info) as file:
        read_header = _HEADERS.get(npy.read_magic(file))
        if read_header is None:
            return "is of a version of NumPy's format that is not read"
        shape, _, dtype = read_header(file)
        return _misfit(shape, dtype, info.file_size - file.tell())


def _misfit(shape: tuple[int, ...], dtype: np.dtype[Any], held: int) -> str:
    """Why an array of this shape cannot be what ``held`` bytes hold; empty where it can."""
    if dtype.hasobject:
        return "holds Python objects"
    if dtype.itemsize == 0 or any(not 0 <= n < 1 << 62 for n in shape):
        return f"has the shape {shape} of {dtype}, which no array of numbers has"
    if prod(shape) * dtype.itemsize != held:
        return f"claims {prod(shape) * dtype.itemsize} bytes and has {held}"
    return ""


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as file:
        found: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return found


def _check_directory(file: IO[bytes]) -> None:
    """Refuse an archive whose list of members is too long to be read: opening it would build them all."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - (1 << 16) - 22 - 76))
    tail = file.read(size - start)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise InvalidData("it does not end as such archives do")
    length = struct.unpack_from("<I", tail, end + 12)[0]
    if tail[max(0, end - 20) : end].startswith(b"PK\x06\x07") and tail[max(0, end - 76) :].startswith(b"PK\x06\x06"):
        length = struct.unpack_from("<Q", tail, end - 76 + 40)[0]  # what Zip64 says instead
    if length > LARGEST_DIRECTORY:
        raise InvalidData(f"its list of members has {length} bytes, at most {LARGEST_DIRECTORY} are read")


@contextmanager
def _opened(source: bytes | Path | str) -> Iterator[IO[bytes]]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    if not stat.S_ISREG(Path(source).stat().st_mode):  # reading a pipe would wait for its other end
        raise InvalidData("it is no regular file")
    with Path(source).open("rb") as file:
        yield file


@contextmanager
def _blaming(source: bytes | Path | str, what: str) -> Iterator[None]:
    """Turn any error into ``InvalidData``: the readers, made for trusted files, raise all kinds for others."""
    name = "this" if isinstance(source, bytes) else str(source)
    try:
        yield
    except Exception as error:
        raise InvalidData(f"{name} is no {what}: {str(error) or type(error).__name__}") from error
