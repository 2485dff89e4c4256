"""Turns errors of databases into archsmith's, with messages for users."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, MultipleResultsFound, NoResultFound

from archsmith.errors import ArchsmithError, DamagedFile, RunLocked, StorageFull, UserError

_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT}

_PASSWORD = (
    UserError,
    "{label} asks for a password in a form that others can read or replay ({detail}), so none was sent; configure it "
    "for scram-sha-256, or, where you trust the network, put require_auth= with its method into the URL",
)
_UNREACHABLE = (UserError, "cannot reach {label} ({detail}); check host, port, database, user and password")
_DAMAGED_TEXT = "{label} cannot be read ({detail}): restore it from a copy, or move it away and start anew"
_DAMAGED = (DamagedFile, _DAMAGED_TEXT)
_OTHER: tuple[type[ArchsmithError], str] = (ArchsmithError, "{label}: {detail}")
# by SQLite's name of the error, or its class in the SQL standard; empty where the server was not reached
_KINDS: Mapping[str, tuple[type[ArchsmithError], str]] = {
    "NOTADB": _DAMAGED,
    "CORRUPT": _DAMAGED,
    "TOOBIG": _DAMAGED,
    "ERROR": _DAMAGED,  # no such table or column: our queries are always the same
    "42": _DAMAGED,
    "BUSY": (RunLocked, "another process has kept {label} busy for a minute; wait for it or end it"),
    "55": (RunLocked, "another process has kept {label} busy for a minute; wait for it or end it"),  # lock_timeout
    "CANTOPEN": (UserError, "cannot open {label} ({detail}); does the folder exist, and may you write to it?"),
    "": _UNREACHABLE,
    "08": _UNREACHABLE,
    "28": _UNREACHABLE,
    "3D": _UNREACHABLE,
}


@contextmanager
def explained(label: str) -> Iterator[None]:
    """Turn errors of the database and of the file system into errors of ``archsmith.errors``.

    Args:
        label: the store's path, or its URL without the password.
    """
    try:
        yield
    except IntegrityError as error:
        raise RunLocked(
            f"another process has written to the same run in {label}; its lines are intact, this process stops"
        ) from error
    except DBAPIError as error:
        raise _explain(label, error) from error
    except (MultipleResultsFound, NoResultFound) as error:  # such as two rows where the schema allows one
        raise damaged(label, str(error)) from error
    except OSError as error:
        raise _explain_os(label, error) from error


def full(label: str) -> StorageFull:
    """The error for a disk without space."""
    return StorageFull(
        f"no space left for {label}; everything committed before is intact: free some space (or raise the quota), "
        "then run the same command again to go on"
    )


def too_large(label: str) -> StorageFull:
    """The error for a file that would grow beyond a limit, or that the disk refuses to write."""
    return StorageFull(
        f"the system refuses to write {label}: it would be larger than files may be here (ulimit -f, or the file "
        "system's own limit), or the disk is failing; everything committed before is intact: raise the limit, or move "
        "the run to another disk, then run the same command again to go on"
    )


def damaged(label: str, detail: str) -> DamagedFile:
    """The error for a file that was cut off or overwritten."""
    return DamagedFile(_DAMAGED_TEXT.format(label=label, detail=detail))


def read_only(label: str) -> UserError:
    """The error for a store that may only be read."""
    return UserError(f"{label} is read-only; make the file and its folder writable, or copy the run elsewhere")


def _explain(label: str, error: DBAPIError) -> ArchsmithError:
    # sqlite3 names its errors; psycopg gives the five characters of the SQL standard
    name = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None) or ""
    detail = (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0][:300]
    if isinstance(error.orig, sqlite3.Error) and not name:  # the driver's own error: text that is no UTF-8, say
        return damaged(label, detail)
    if name in ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", "53100"):
        return full(label)
    if name in ("SQLITE_IOERR_WRITE", "SQLITE_IOERR_TRUNCATE"):
        return too_large(label)
    if name.startswith("SQLITE_READONLY") or name in ("25006", "42501"):
        return read_only(label)
    kind, message = (
        _PASSWORD
        if "authentication method requirement" in detail
        else _KINDS.get(name.removeprefix("SQLITE_") if name.startswith("SQLITE_") else name[:2], _OTHER)
    )
    return kind(message.format(label=label, detail=f"{detail}, {name}" if name else detail))


def _explain_os(label: str, error: OSError) -> ArchsmithError:
    if error.errno in _FULL_ERRNOS:
        return full(label)
    if error.errno == errno.EFBIG:
        return too_large(label)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return read_only(label)
    return UserError(f"cannot open {label}: {error.strerror or error}")
