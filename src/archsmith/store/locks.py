"""Locks for writing: one process a run; others get an error that names it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, insert, select, text
from sqlalchemy.exc import DBAPIError

from archsmith.errors import RunLocked, UserError
from archsmith.store._schema import LOCKS

_TAKE_TIMEOUT_S = 2.0  # a PostgreSQL server needs a moment to notice that a killed client is gone


class FileLock:
    """An exclusive ``flock`` on a file that names its holder; the system drops it when the process dies.

    Raises:
        RunLocked: naming the process that holds it.
        UserError: when ``path`` is no file but a link or a pipe, say.
        OSError: when the file cannot be written.
    """

    def __init__(self, path: Path, *, label: str) -> None:
        self._file = _opened(path)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, _, host = os.pread(self._file, 1000, 0).decode(errors="replace").strip().partition(" ")
            os.close(self._file)
            raise _locked(label, pid, host) from None
        # written in place, not truncated first: a second process must never read an empty line
        line = f"{os.getpid()} {socket.gethostname()}\n".encode()
        try:
            os.pwrite(self._file, line, 0)
            os.ftruncate(self._file, len(line))
        except OSError:
            os.close(self._file)
            raise

    def release(self) -> None:
        """Release the lock; the file stays, because deleting it would race with the next holder."""
        os.close(self._file)


def _opened(path: Path) -> int:
    """The descriptor of a lock's file; links are refused: in somebody else's folder they may lead to any file."""
    refused = UserError(f"{path} is no regular file, so it cannot be a lock; remove it")
    try:
        # O_NONBLOCK: opening a pipe would wait for its other end
        found = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise refused from error
        raise
    status = os.fstat(found)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:  # a hard link is as bad as a symbolic one
        os.close(found)
        raise refused
    return found


class AdvisoryLock:
    """A PostgreSQL session lock on a run's name; the server drops it when the connection ends.

    Raises:
        RunLocked: naming the process that holds it.
    """

    def __init__(self, engine: Engine, name: str, *, label: str) -> None:
        self._engine, self._name, self._label = engine, name, label
        self._connect()

    def renew(self) -> None:
        """Take the lock again if the connection was lost, and the lock with it.

        Raises:
            RunLocked: when another process took it meanwhile.
        """
        if not self._connection.closed:  # it is closed if the server did not respond to an earlier attempt
            with suppress(DBAPIError):
                self._connection.execute(select(1))
                return
            self._connection.close()
        self._connect()

    def _connect(self) -> None:
        self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            self._take()
        except BaseException:
            self._connection.close()
            raise

    def _take(self) -> None:
        own = (os.getpid(), socket.gethostname())
        give_up = time.monotonic() + _TAKE_TIMEOUT_S
        while not _advisory(self._connection, "pg_try_advisory_lock", self._name):
            if time.monotonic() > give_up:
                holder = self._connection.execute(select(LOCKS).where(LOCKS.c.name == self._name)).first()
                raise _locked(self._label, str(holder.pid) if holder else "", holder.host if holder else "")
            time.sleep(0.05)
        self._connection.execute(delete(LOCKS).where(LOCKS.c.name == self._name))
        self._connection.execute(insert(LOCKS).values(name=self._name, pid=own[0], host=own[1]))

    def release(self) -> None:
        """Release the lock."""
        if self._connection.closed:
            return
        with suppress(DBAPIError):  # if the connection broke, the server has released the lock already
            self._connection.execute(delete(LOCKS).where(LOCKS.c.name == self._name))
            _advisory(self._connection, "pg_advisory_unlock", self._name)
        self._connection.close()


def _advisory(connection: Connection, function: str, name: str) -> bool:
    query = text(f"SELECT {function}(hashtextextended(current_schema() || '/archsmith/' || :name, 0))")
    return bool(connection.execute(query, {"name": name}).scalar_one())


def _locked(label: str, pid: str, host: str) -> RunLocked:
    who = f"process {pid} on {host}" if pid else "another process"
    return RunLocked(f"{label} is being written by {who}; wait for it or end it, then run the same command again")
