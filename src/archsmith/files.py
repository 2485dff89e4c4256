"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from archsmith.errors import DamagedFile, StorageFull, UserError


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place, flushed to disk, when the block ends well.

    Raises:
        StorageFull: when the disk is full; ``path`` is as it was.
        UserError: when the folder cannot be written.
    """
    path = Path(path)
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
    """Turn the system's refusals to write ``path`` into errors that say the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"no space left to write {path}; free some and give the same command again") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise UserError(f"cannot write {path}: {error.strerror}; choose a folder that you may write to") from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            raise UserError(f"cannot write {path}: {error.strerror}; a file or a folder is in its way") from error
        raise


def write_json(path: Path | str, data: Any) -> None:
    """Write plain data, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path | str, *, what: str, way_out: str = "restore it from a copy") -> Any:
    """Plain data from a file that archsmith wrote.

    Args:
        path: of the file.
        what: what it is, for the message.
        way_out: what the reader of the message can do.

    Raises:
        DamagedFile: when it is missing or no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DamagedFile(f"{path} is missing; it should hold {what}: {way_out}") from None
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{path} should hold {what} but cannot be read ({error}); {way_out}") from error


def home_folder(given: Path | None = None) -> Path:
    """Where a machine keeps what belongs to it and not to a run (locks, reference anchors, public tables).

    ``given``, else ``$ARCHSMITH_HOME``, else ``~/.cache/archsmith``.
    """
    return given or Path(os.environ.get("ARCHSMITH_HOME") or Path.home() / ".cache" / "archsmith")


def sha256(path: Path | str) -> str:
    """Hexadecimal digest of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; systems that cannot open folders do without."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
