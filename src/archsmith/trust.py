"""Trust: which files may name code, hosts and paths.

A run, a certificate or an architecture file names things: a function that builds the network, a folder of data, an
agent, a database. archsmith follows the names in files that it wrote itself for this user. It refuses those in anybody
else's file: it imports, calls, opens and connects to nothing that they name.

Files made here are remembered below :func:`archsmith.files.home_folder`, by the hash of their content and, where it
matters, their path. Code that reads names from a file does so inside :func:`names_of`. The few places that import,
connect to or open what is named call :func:`refuse` first; outside of :func:`names_of` it refuses nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from archsmith.errors import ArchsmithError, Untrusted
from archsmith.files import home_folder, read_json, sha256, write_json


class _Remembered(TypedDict):
    file: str
    imports_from: str | None


@dataclass(frozen=True)
class Names:
    """Whose names one file holds.

    Args:
        file: its path, for messages.
        own: whether this user's archsmith wrote it, or the user said to trust it.
        imports_from: folders to look for modules in, beside Python's own path; ``None`` for the current folder.
    """

    file: Path
    own: bool
    imports_from: tuple[Path, ...] | None = None


LARGEST_SIZE = 4096
"""Largest width, depth, image size or batch that somebody else's file may name: the cost grows with its square."""

_CURRENT_NAMES: ContextVar[Names | None] = ContextVar("names of a file", default=None)


@contextmanager
def names_of(names: Names | None) -> Iterator[None]:
    """In this block, what is imported, opened and connected to is named by a file; ``None``: by the user."""
    token = _CURRENT_NAMES.set(names)
    try:
        yield
    finally:
        _CURRENT_NAMES.reset(token)


def refuse(what: str) -> None:
    """Check, before a name is followed, that it is not from somebody else's file.

    Args:
        what: what following the name would do, such as ``"import net:build"``.

    Raises:
        Untrusted: when somebody else's file named it.
    """
    names = _CURRENT_NAMES.get()
    if names is not None and not names.own:
        raise Untrusted(
            f"{names.file} would {what}, and it was not made here: give --trust (trust=True in Python) if it is yours, "
            f"or if you trust its maker{_no_memory_hint()}"
        )


def refuse_large(what: str, data: Any) -> None:
    """Check, before numbers are used as sizes, that those of somebody else's file are at most ``LARGEST_SIZE``.

    Args:
        what: what using them would do.
        data: numbers, and lists and mappings of them; everything else is ignored.

    Raises:
        Untrusted: naming the first number that is larger.
    """
    if not foreign():
        return
    waiting = [data]
    while waiting:
        found = waiting.pop()
        if isinstance(found, Mapping):
            waiting += found.values()
        elif isinstance(found, list | tuple):
            waiting += found
        elif isinstance(found, int | float) and not abs(found) <= LARGEST_SIZE:
            refuse(f"{what} with a size of {found:.6g}, more than {LARGEST_SIZE:,}")


def foreign() -> bool:
    """Whether the current names are from somebody else's file."""
    names = _CURRENT_NAMES.get()
    return names is not None and not names.own


def import_folders() -> tuple[Path, ...]:
    """Folders to look for the user's own modules in, beside Python's own path."""
    names = _CURRENT_NAMES.get()
    return (Path.cwd(),) if names is None or names.imports_from is None else names.imports_from


def remember(file: Path, *, anywhere: bool = False, imports_from: Path | None = None) -> None:
    """Treat a file as this user's own from now on, as long as its content stays the same.

    A home folder that cannot be written is no error: the file then needs ``--trust`` each time.

    Args:
        file: written here, or trusted by the user.
        anywhere: whether it stays trusted when it is moved or copied.
        imports_from: the folder that its modules were found in.
    """
    found = _Remembered(file=str(_where(file)), imports_from=None if imports_from is None else str(imports_from))
    with suppress(ArchsmithError, OSError):
        write_json(_place(file, anywhere=anywhere), found)


def recall(file: Path, *, anywhere: bool = False) -> Names:
    """Whose names a file holds: the user's own if its present content was remembered.

    Args:
        file: the file to look up.
        anywhere: whether it may have been moved since it was remembered.
    """
    try:
        found: _Remembered = read_json(_place(file, anywhere=anywhere), what="a file made here", form=_Remembered)
    except (ArchsmithError, OSError):
        return Names(file, own=False)
    folder = found["imports_from"]
    return Names(file, own=True, imports_from=() if folder is None else (Path(folder),))


def check_own_folder(folder: Path, *, writing: bool) -> None:
    """Refuse somebody else's folder if it holds links in place of files.

    Args:
        folder: of a run.
        writing: whether files in it will be written; then hard links are refused, too.

    Raises:
        Untrusted: naming the link.
    """
    for file in (*folder.iterdir(), *folder.glob("*/*")):
        found = file.lstat()
        shared = writing and stat.S_ISREG(found.st_mode) and found.st_nlink > 1
        if stat.S_ISLNK(found.st_mode) or shared or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise Untrusted(
                f"{file} is a link to something elsewhere, or no file, and {folder} was not made here: copy the folder "
                f"without links (cp -rL copies their targets), if you trust its maker"
            )


def _place(file: Path, *, anywhere: bool) -> Path:
    """Where a file is remembered, under a hash of its content and, unless ``anywhere``, its path."""
    text = f"{'' if anywhere else _where(file)}\0{sha256(file)}"
    return home_folder() / "trusted" / f"{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()}.json"


def _where(file: Path) -> Path:
    """The absolute path of a file; a link is not resolved, because it is another file than its target."""
    return file.parent.resolve() / file.name


def _no_memory_hint() -> str:
    """The part of the message for a home folder that cannot be written; empty where it can."""
    home = home_folder()
    there = next((folder for folder in (home, *home.parents) if folder.exists()), home)
    if os.access(there, os.W_OK):
        return ""
    return f" (each time: {home}, which would remember it, cannot be written; ARCHSMITH_HOME names another folder)"
