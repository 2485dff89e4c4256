"""Files that are either whole or absent, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from archsmith.errors import StorageFull

_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, content: bytes | Callable[[Path], None]) -> None:
    """Give ``path`` new content, all of it or none; readers see the old file or the new one.

    Args:
        path: what is written; its folder is made where it is missing.
        content: the bytes, or a function that writes them to the temporary file it is given.

    Raises:
        StorageFull: when the disk is full; ``path`` is then as it was and nothing is left beside it.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(part)
        else:
            part.write_bytes(content)
        _sync(part)
        part.replace(path)
        _sync(path.parent)
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"no space left for {path}; free some and repeat, nothing was half-written") from error
        raise
    finally:
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until the disk has it; for a folder that makes the rename last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
