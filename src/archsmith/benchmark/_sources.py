"""Where an import looks for published files: a folder and its subfolders, one file, or zip archives."""

from __future__ import annotations

import csv
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import InvalidData, require

_MOST_LEVELS = 4
_ALWAYS_ALLOWED, _MOST_TIMES = 2**30, 100
"""Bytes that any member of an archive may unpack to, and how many times its packed size a larger one may."""
_ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    LookupError,
)
"""Errors that archives raise that are truncated, corrupted, encrypted or packed in unknown ways."""


class Sources:
    """The files that an import may read, by name.

    Args:
        place: a folder, a file or a zip archive. Folders are searched a few levels deep, hidden ones are left
            out; of two files of one name the nearer one counts.

    Raises:
        InvalidData: when there is no such place.
    """

    def __init__(self, place: Path) -> None:
        if not place.exists():
            raise InvalidData(f"{place} does not exist; name a folder or a file with published tables")
        self.place = place
        self._members: dict[str, tuple[Path, str]] = {}
        for path in _files(place):
            self._members.setdefault(path.name, (path, ""))
            for member in _archived(path):
                self._members.setdefault(Path(member).name, (path, member))

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def where(self, name: str) -> str:
        """The place of a file, for messages."""
        path, member = self._members[name]
        return f"{path}:{member}" if member else str(path)

    def bytes(self, name: str) -> bytes:
        """All of a file."""
        path, member = self._members[name]
        try:
            if not member:
                return path.read_bytes()
            with zipfile.ZipFile(path) as archive:
                info = archive.getinfo(member)
                if info.file_size > max(_ALWAYS_ALLOWED, _MOST_TIMES * info.compress_size):
                    raise ValueError(f"{info.file_size / 2**30:.1f} GiB are packed {_MOST_TIMES} times and more")
                return archive.read(member)
        except (*_ARCHIVE_ERRORS, NotImplementedError, MemoryError) as error:
            raise InvalidData(f"{self.where(name)} is damaged ({error}); fetch it anew") from error

    def csv(self, name: str) -> list[dict[str, str]]:
        """The lines of a comma-separated file."""
        try:
            text = self.bytes(name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidData(f"{self.where(name)} is no text ({error}); fetch it anew") from None
        try:
            lines = list(csv.DictReader(io.StringIO(text)))
        except csv.Error as error:
            raise InvalidData(f"{self.where(name)} is no table ({error}); fetch it anew") from error
        if not lines:
            raise InvalidData(f"{self.where(name)} is empty; fetch it anew")
        return lines

    def parquet(self, name: str) -> Any:
        """A data frame."""
        purpose = f"Importing {name}"
        pandas = require("pandas", extra="data", purpose=purpose)
        require("pyarrow", extra="data", purpose=purpose)
        try:
            return pandas.read_parquet(io.BytesIO(self.bytes(name)))
        except Exception as error:  # pandas trusts metadata in the file
            if isinstance(error, InvalidData):
                raise
            raise InvalidData(f"{self.where(name)} is no Parquet file ({error}); fetch it anew") from error


def numbers(lines: list[dict[str, str]], column: str, where: str) -> NDArray[np.float64]:
    """A column of numbers; what is empty is NaN."""
    try:
        return np.array([float(line[column] or "nan") for line in lines], dtype=np.float64)
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidData(f"{where}: the column {column!r} cannot be read ({error!r}); fetch the file anew") from None


def frame_numbers(frame: Any, column: str, where: str) -> NDArray[np.float64]:
    """A column of a data frame as numbers; what is missing is NaN."""
    if column not in frame:
        raise InvalidData(f"{where} has no column {column!r}; fetch the file anew")
    try:
        found: NDArray[np.float64] = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidData(f"{where}: the column {column!r} holds no numbers ({error}); fetch the file anew") from error
    return found


def _archived(path: Path) -> list[str]:
    """Names of the files in a zip archive; none where it is no readable one."""
    if path.suffix != ".zip":
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return [name for name in archive.namelist() if not name.endswith("/")]
    except (*_ARCHIVE_ERRORS, NotImplementedError):
        return []  # a file of some other program: ignored


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    level = [place]
    for _ in range(_MOST_LEVELS):
        below: list[Path] = []
        for folder in level:
            try:
                found = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except PermissionError:
                continue
            for entry in found:
                if entry.is_file():
                    yield Path(entry.path)
                elif entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    below.append(Path(entry.path))
        level = below
