"""Whose files may name code, hosts and paths.

A run, a certificate or an architecture file names things: a function that builds the network, a folder of data, an
agent, a database. Names in files that this user's archsmith wrote are followed; those in anybody else's are not:
nothing that they name is imported, called, opened or connected to.

Files made here are remembered below :func:`archsmith.files.home_folder`, by the hash of their content and, where it
matters, their path. Whatever reads names from a file does so inside :func:`names_of`; the few places where a name
becomes an import, a connection or an open file ask :func:`refuse` first. A place that forgets to say whose names it
reads therefore fails no user, and one inside the block cannot be forgotten.
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
    """The names that stand in one file.

    Args:
        file: that they stand in, for messages.
        own: whether this user's archsmith wrote it, or the user said to trust it.
        imports_from: folders that modules of own files are looked for in, beside Python's own path; ``None`` for the
            current folder.
    """

    file: Path
    own: bool
    imports_from: tuple[Path, ...] | None = None


LARGEST_SIZE = 4096
"""Of a width, a depth, an image or a batch that somebody else's file names: what it costs grows with its square."""

_READ: ContextVar[Names | None] = ContextVar("names of a file", default=None)


@contextmanager
def names_of(names: Names | None) -> Iterator[None]:
    """What is imported, opened and connected to in this block was named by a file, or by the user: ``None``."""
    token = _READ.set(names)
    try:
        yield
    finally:
        _READ.reset(token)


def refuse(what: str) -> None:
    """Asked before a name is followed.

    Args:
        what: following it would do, such as ``"import net:build"``.

    Raises:
        Untrusted: when somebody else's file named it.
    """
    names = _READ.get()
    if names is not None and not names.own:
        raise Untrusted(
            f"{names.file} would {what}, and it was not made here: give --trust (trust=True in Python) if it is yours, "
            f"or if you trust its maker{_forgetful()}"
        )


def refuse_large(what: str, data: Any) -> None:
    """Asked before numbers are used as sizes: those in somebody else's file are at most ``LARGEST_SIZE``.

    Args:
        what: using them would do.
        data: numbers, and lists and mappings of them; everything else is passed over.

    Raises:
        Untrusted: naming the first that is larger.
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
    """Whether names of somebody else's file are being read."""
    names = _READ.get()
    return names is not None and not names.own


def import_folders() -> tuple[Path, ...]:
    """Where modules of the user's own are looked for, beside Python's own path."""
    names = _READ.get()
    return (Path.cwd(),) if names is None or names.imports_from is None else names.imports_from


def remember(file: Path, *, anywhere: bool = False, imports_from: Path | None = None) -> None:
    """Take a file as this user's own from now on, as long as its content stays.

    A home that cannot be written is no error: the file is somebody's, then, until ``--trust`` is given again.

    Args:
        file: that was written here, or that the user trusts.
        anywhere: whether it stays so when it is moved or copied.
        imports_from: the folder that its modules were found in.
    """
    found = _Remembered(file=str(_where(file)), imports_from=None if imports_from is None else str(imports_from))
    with suppress(ArchsmithError, OSError):
        write_json(_place(file, anywhere=anywhere), found)


def recall(file: Path, *, anywhere: bool = False) -> Names:
    """Whose names stand in a file.

    Args:
        file: as it is now.
        anywhere: whether it may have been moved since it was remembered.
    """
    try:
        found: _Remembered = read_json(_place(file, anywhere=anywhere), what="a file made here", form=_Remembered)
    except (ArchsmithError, OSError):
        return Names(file, own=False)
    folder = found["imports_from"]
    return Names(file, own=True, imports_from=() if folder is None else (Path(folder),))


def check_own_folder(folder: Path, *, writing: bool) -> None:
    """Refuse a folder of somebody else's in which links lie in place of files.

    Args:
        folder: of a run.
        writing: whether files in it will be written, so that a second name of a file elsewhere counts, too.

    Raises:
        Untrusted: naming the link.
    """
    for file in (*folder.iterdir(), *folder.glob("*/*")):
        found = file.lstat()
        shared = writing and stat.S_ISREG(found.st_mode) and found.st_nlink > 1
        if stat.S_ISLNK(found.st_mode) or shared or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise Untrusted(
                f"{file} is a link to something elsewhere, or no file, and {folder} was not made here: copy the folder "
                f"without links (cp -rL copies what they lead to), if you trust its maker"
            )


def _place(file: Path, *, anywhere: bool) -> Path:
    """Where it is remembered: content and, unless it may lie anywhere, path make the name."""
    text = f"{'' if anywhere else _where(file)}\0{sha256(file)}"
    return home_folder() / "trusted" / f"{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()}.json"


def _where(file: Path) -> Path:
    """Its path; a link is another file than the one that it leads to."""
    return file.parent.resolve() / file.name


def _forgetful() -> str:
    """What to know where nothing can be remembered."""
    home = home_folder()
    there = next((folder for folder in (home, *home.parents) if folder.exists()), home)
    if os.access(there, os.W_OK):
        return ""
    return f" (each time: {home}, which would remember it, cannot be written; ARCHSMITH_HOME names another folder)"
