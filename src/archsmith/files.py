"""Reading and writing files: a file is written as a whole or not at all, and checked when it is read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from archsmith.errors import DamagedFile, StorageFull, UserError

LARGEST_JSON = 1 << 25
"""Bytes of the largest JSON file that is read; archsmith's own files are far smaller."""


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary path beside ``path``; it replaces ``path``, flushed to disk, when the block ends without an error.

    Raises:
        StorageFull: when the disk is full; ``path`` is unchanged.
        UserError: when the folder cannot be written, or ``path`` is not a file but a device, say.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise UserError(f"cannot write {path}: it is {_kind(path)}, not a file; give another name")
    with translating(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        except FileNotFoundError as error:  # as in /proc, where nothing can be made
            raise UserError(f"cannot write {path}: nothing can be made there; choose another folder") from error
        os.close(handle)
    temporary = Path(name)
    try:
        with translating(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def translating(path: Path | str) -> Iterator[None]:
    """Turn the system's errors in writing ``path`` into errors that say the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"no space left to write {path}; free some and give the same command again") from error
        if error.errno == errno.EFBIG:
            raise StorageFull(
                f"{path} would be larger than files may be here (ulimit -f, or the file system's own limit); raise it "
                "and give the same command again"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise UserError(f"cannot write {path}: {error.strerror}; choose a folder that you may write to") from error
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.ESPIPE):
            raise UserError(f"cannot write {path}: a link or a pipe lies there; move it away") from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            raise UserError(f"cannot write {path}: {error.strerror}; a file or a folder is in its way") from error
        raise


def write_json(path: Path | str, data: Any) -> None:
    """Write plain data, whole or not at all."""
    with replacing(path) as temporary:
        text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # lone surrogates become JSON escapes


def append_line(path: Path | str, line: str) -> None:
    """Add a line to a text file; an unfinished last line is ended first. Links are not followed.

    Raises:
        StorageFull: when the disk is full.
        UserError: when the file cannot be written, or is a link.
    """
    with translating(path):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        with os.fdopen(descriptor, "ab+") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                raise UserError(f"cannot write {path}: it is a link to a file elsewhere, or no file; move it away")
            torn = file.tell() and os.pread(descriptor, 1, file.tell() - 1) != b"\n"
            file.write(b"\n" * bool(torn) + line.encode() + b"\n")


def read_json(
    path: Path | str,
    *,
    what: str,
    way_out: str = "restore it from a copy",
    form: Any = Any,
    most: int = LARGEST_JSON,
) -> Any:
    """Plain data from a file that archsmith wrote.

    Args:
        path: of the file.
        what: what it is, for the message.
        way_out: what the user can do, for the message.
        form: the type that the data must have, such as a ``TypedDict``; further names are kept.
        most: bytes that the file may have at most.

    Raises:
        DamagedFile: when it is missing, too large, no JSON, or of another form.
    """
    try:
        data = parsed_json(read_bytes(path, most=most).decode("utf-8"))
    except FileNotFoundError:
        raise DamagedFile(f"{path} is missing; it should hold {what}: {way_out}") from None
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{path} should hold {what} but cannot be read ({error}); {way_out}") from error
    if wrong := misfit(data, form):
        raise DamagedFile(f"{path} should hold {what} and is of another form ({wrong}); {way_out}")
    return data


def read_bytes(path: Path | str, *, most: int) -> bytes:
    """The content of a regular file of at most ``most`` bytes; a pipe or a device is not opened.

    Raises:
        OSError: when it cannot be read; ``FileNotFoundError`` when it is missing.
        ValueError: when it is larger, or no file.
    """
    path = Path(path)
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"it is {_kind(path)}, not a file")
    if found.st_size > most:
        raise ValueError(f"it has {found.st_size / 2**20:.1f} MiB, at most {most / 2**20:.1f} are read")
    return path.read_bytes()


def parsed_json(text: str | bytes) -> Any:
    """Plain data from text.

    Raises:
        ValueError: when it is no JSON, nested too deeply, or holds text without a UTF-8 form.
    """
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        data = json.loads(text)
        if "\\ud" in text.lower():  # a lone surrogate has no UTF-8 form
            json.dumps(data, ensure_ascii=False).encode("utf-8")
        return data
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def misfit(data: Any, form: Any) -> str:
    """Where plain data differ from the type ``form``, in words; empty where they fit.

    >>> misfit({"epochs": "many"}, dict[str, int])
    'Expected `int`, got `str` - at `$[...]`'
    """
    try:
        msgspec.convert(data, form)
    except msgspec.ValidationError as error:
        return str(error)
    except RecursionError:
        return "it is nested too deeply"
    except (UnicodeEncodeError, OverflowError) as error:
        return str(error)
    return ""


def home_folder(given: Path | None = None) -> Path:
    """The folder for what belongs to the machine and not to a run (locks, reference anchors, public tables).

    ``given``, else ``$ARCHSMITH_HOME``, else ``~/.cache/archsmith``.
    """
    return given or Path(os.environ.get("ARCHSMITH_HOME") or Path.home() / ".cache" / "archsmith")


def sha256(path: Path | str) -> str:
    """Hexadecimal digest of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, on systems that can open folders."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _kind(path: Path) -> str:
    """What kind of thing lies at ``path``, for messages."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(path.stat().st_mode), "something else")
