"""Who writes: one process a run, and the next one is told which."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, insert, select, text
from sqlalchemy.exc import DBAPIError

from archsmith.errors import RunLocked
from archsmith.store._schema import LOCKS

_PATIENCE_S = 2.0  # a PostgreSQL server needs a moment to notice that a killed client is gone


class FileLock:
    """An exclusive ``flock`` on a file that names its holder; the system drops it when the process dies.

    Raises:
        RunLocked: naming the process that holds it.
        OSError: when the file cannot be written.
    """

    def __init__(self, path: Path, *, label: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
        """Let the next process in; the file stays, because deleting it would race with its next holder."""
        os.close(self._file)


class AdvisoryLock:
    """A PostgreSQL session lock on a run's name; the server drops it when the connection ends.

    Raises:
        RunLocked: naming the process that holds it.
    """

    def __init__(self, engine: Engine, name: str, *, label: str) -> None:
        self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._name = name
        try:
            self._take(label)
        except BaseException:
            self._connection.close()
            raise

    def _take(self, label: str) -> None:
        give_up = time.monotonic() + _PATIENCE_S
        while not _advisory(self._connection, "pg_try_advisory_lock", self._name):
            if time.monotonic() > give_up:
                holder = self._connection.execute(select(LOCKS).where(LOCKS.c.name == self._name)).first()
                raise _locked(label, str(holder.pid) if holder else "", holder.host if holder else "")
            time.sleep(0.05)
        self._connection.execute(delete(LOCKS).where(LOCKS.c.name == self._name))
        self._connection.execute(insert(LOCKS).values(name=self._name, pid=os.getpid(), host=socket.gethostname()))

    def release(self) -> None:
        """Let the next process in."""
        with suppress(DBAPIError):  # of a connection that broke, the server has let go already
            self._connection.execute(delete(LOCKS).where(LOCKS.c.name == self._name))
            _advisory(self._connection, "pg_advisory_unlock", self._name)
        self._connection.close()


def _advisory(connection: Connection, function: str, name: str) -> bool:
    query = text(f"SELECT {function}(hashtextextended(current_schema() || '/archsmith/' || :name, 0))")
    return bool(connection.execute(query, {"name": name}).scalar_one())


def _locked(label: str, pid: str, host: str) -> RunLocked:
    who = f"process {pid} on {host}" if pid else "another process"
    return RunLocked(f"{label} is being written by {who}; wait for it or end it, then run the same command again")
