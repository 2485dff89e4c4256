"""SQLite: opening a file for writing, and reading one without changing its folder."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event

from archsmith import trust
from archsmith.errors import DamagedFile, RunLocked, UserError
from archsmith.files import LARGEST_JSON
from archsmith.store._failures import explained

BUSY_S = 60.0
"""How long a connection waits for another one's transaction."""
LARGEST_COPY = 1 << 30
"""Bytes of the largest store that is read as a copy in memory."""
_COPY_ATTEMPTS = 5  # a file that changes while it is copied is copied again

Connect = Callable[[], sqlite3.Connection]


def open_file(where: Path, *, create: bool, writable: bool) -> tuple[Engine, Path, bool]:
    """An engine on a store's file, the file's own path, and whether it can be written.

    Args:
        where: its path.
        create: whether to make a file that is missing, and the folders above it.
        writable: whether to open it for writing where permissions allow; otherwise nothing in its folder changes.

    Raises:
        UserError: when it is missing and ``create`` is false, or is no file.
        Untrusted: when it is a link, and somebody else's file names it.
    """
    with explained(str(where)):
        _check_place(where, create=create and writable)
        path = where.resolve()
        _check_companions(path)
        allowed = os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))
        connect = _connector(path, "rwc" if create else "rw") if writable and allowed else _reader(path)
    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine, path, writable and allowed


def _check_place(where: Path, *, create: bool) -> None:
    if where.is_symlink():
        trust.refuse(f"open {where.resolve()}")
    if where.is_dir():
        raise UserError(f"{where} is a folder; give the file of a store, such as {where / 'store.db'}")
    if where.exists():
        if not where.is_file():  # opening a pipe would wait for its other end
            raise UserError(f"{where} is no regular file, so it is no store; give another path")
        if create and where.stat().st_nlink > 1:
            trust.refuse(f"write to {where}, which has another name elsewhere")
    elif create:
        where.parent.mkdir(parents=True, exist_ok=True)
    else:
        raise UserError(f"there is no store at {where}; has the run been started?")


def _check_companions(path: Path) -> None:
    """Refuse links in place of SQLite's companion files: it reads, writes and deletes them through links."""
    for companion in _companions(path):
        try:
            found = companion.lstat()
        except FileNotFoundError:  # the last process that closes the store deletes them
            continue
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise DamagedFile(f"{companion} is no file of {path.name}'s own, but a link or a device; remove it")
        if companion.name.endswith("-journal") and _ends_with(companion, _JOURNAL):
            raise DamagedFile(f"{companion} names a file that SQLite would delete, which no store does; remove it")


_JOURNAL = bytes.fromhex("d9d505f920a163d7")
"""First bytes of a rollback journal. At its end, too, it names another journal, which SQLite would delete."""


def _ends_with(file: Path, ending: bytes) -> bool:
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - len(ending)))
        return opened.read() == ending


def _companions(path: Path) -> list[Path]:
    return [path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")]


def _connector(path: Path, mode: str) -> Connect:
    def connect() -> sqlite3.Connection:
        uri = f"{path.as_uri()}?mode={mode}"
        connection = _set_up(sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, **_SHARED))
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    return connect


_SHARED = {"check_same_thread": False}  # SQLAlchemy gives a connection to one thread at a time


def _set_up(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Settings against hostile files; the driver is in autocommit mode, and the engine begins transactions."""
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_JSON)
    return connection


def _reader(path: Path) -> Connect:
    """Connects to a copy in memory, so that reading leaves no files behind; or to the file itself while it has a log.

    A connection to the file, even a read-only one, creates the log and its index where they are missing, and leaves
    them there. With SQLite's option ``immutable`` it does not, but then it reads garbage while another process writes.
    """
    for _ in range(_COPY_ATTEMPTS):
        if _has_log(path) or path.stat().st_size > LARGEST_COPY:
            # the last commits are in the log only; its index is made anew where it is missing
            _check_index(path)
            return _connector(path, "ro")
        before = path.stat()
        data = bytearray(path.read_bytes())
        after = path.stat()
        same = [(s.st_ino, s.st_size, s.st_mtime_ns) for s in (before, after)]
        if same[0] == same[1] and len(data) == after.st_size and not _has_log(path):
            return _copied(data)
    raise RunLocked(f"{path} changes all the time, so it cannot be read; try again")


def _has_log(path: Path) -> bool:
    log, _, rollback = _companions(path)
    for companion in (log, rollback):
        with suppress(FileNotFoundError):
            if companion.stat().st_size:
                return True
    return False


def _copied(data: bytearray) -> Connect:
    if data[18:20] == b"\x02\x02":  # "is written with a log", which a database in memory does not have
        data[18:20] = b"\x01\x01"
    content = bytes(data)

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", isolation_level=None, **_SHARED)
        if content:
            connection.deserialize(content)
        connection.execute("PRAGMA query_only=ON")
        return _set_up(connection)

    return connect


def _check_index(path: Path) -> None:
    """Refuse a log without its index in a read-only folder, as SQLite cannot create the index there."""
    log, index, _ = _companions(path)
    if log.exists() and not index.exists() and not os.access(path.parent, os.W_OK):
        raise DamagedFile(
            f"{log} holds evaluations that cannot be read in a read-only folder; copy {path.name} and "
            f"{log.name} to a folder that you may write to"
        )
