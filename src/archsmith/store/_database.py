"""A database that evaluations and journals are kept in: SQLite by path, PostgreSQL by URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, func, make_url, select
from sqlalchemy.exc import ArgumentError

from archsmith import trust
from archsmith.errors import InvalidOption, require
from archsmith.store import _schema
from archsmith.store._failures import damaged, explained, read_only
from archsmith.store._locks import AdvisoryLock, FileLock
from archsmith.store._sqlite import open_file

_WRITERS = 0x61726368  # key of the PostgreSQL lock that makes the order of ids the order of commits


class Database:
    """Transactions, locks and errors that are the same for every kind of database.

    Args:
        engine: of SQLAlchemy.
        label: how errors name it.
        path: of the file, where it is one.
        writable: whether it may be written at all.
    """

    def __init__(self, engine: Engine, *, label: str, path: Path | None, writable: bool) -> None:
        self.engine = engine
        self.label = label
        self.path = path
        self.writable = writable
        self._held: dict[str, tuple[FileLock | AdvisoryLock, int]] = {}

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view."""
        with explained(self.label), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: all of it or nothing, one writer at a time.

        Raises:
            UserError: when the store is read-only.
            StorageFull: when the disk is full; what was committed before is intact.
        """
        if not self.writable:
            raise read_only(self.label)
        writing = self.engine.execution_options(begin="BEGIN IMMEDIATE")
        with explained(self.label), writing.begin() as connection:
            if self.path is None:
                connection.execute(select(func.pg_advisory_xact_lock(_WRITERS)))
            yield connection

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the exclusive right to write run ``name`` (of a file: any run in it); may be nested.

        Raises:
            RunLocked: naming the process that has it.
        """
        scope = self._scope(name)
        lock, depth = self._held.get(scope) or (self._lock(name), 0)
        self._held[scope] = (lock, depth + 1)
        try:
            yield
        finally:
            if depth:
                self._held[scope] = (lock, depth)
            else:
                del self._held[scope]
                lock.release()

    def holds(self, name: str) -> bool:
        """Whether the lock of run ``name`` is held here."""
        return self._scope(name) in self._held

    def _lock(self, name: str) -> FileLock | AdvisoryLock:
        if not self.writable:
            raise read_only(self.label)
        with explained(self.label):
            if self.path is None:
                return AdvisoryLock(self.engine, name, label=f"run {name!r} in {self.label}")
            return FileLock(self.path.with_name(self.path.name + ".lock"), label=self.label)

    def _scope(self, name: str) -> str:
        return name if self.path is None else ""

    def prepare(self) -> None:
        """Create the tables, or bring them to this version's schema; nothing is written where they fit."""
        with self.read() as connection:
            if self.path is not None:
                _schema.check_own(connection, label=self.label)
                _check_whole(connection, label=self.label)
            if not self.writable:
                return _schema.check_readable(connection, label=self.label)
            found = _schema.version(connection, label=self.label)
        if found == 0 and self.path is not None:
            # stays with the file, and cannot be set inside a transaction
            with explained(self.label), self.engine.execution_options(begin="SELECT 1").connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        if found < len(_schema.STEPS):
            with self.write() as connection:
                _schema.upgrade(connection, label=self.label)
        return None


def open_database(where: str | Path, *, create: bool, writable: bool) -> Database:
    """The database at a path or ``postgresql://`` URL, ready for use."""
    if "://" in str(where):
        database = _postgres(str(where), writable=writable)
    else:
        engine, path, writable = open_file(Path(where), create=create, writable=writable)
        database = Database(engine, label=str(path), path=path, writable=writable)
    try:
        database.prepare()
    except BaseException:
        database.engine.dispose()
        raise
    return database


def _check_whole(connection: Connection, *, label: str) -> None:
    # 1.5 ms for a thousand evaluations; without it a file that was cut off opens, and ends in zeros
    says = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if says != "ok":
        raise damaged(label, str(says).splitlines()[-1])


def _postgres(where: str, *, writable: bool) -> Database:
    try:
        url = make_url(where)
    except (ArgumentError, ValueError) as error:
        raise InvalidOption(f"cannot read the store's URL: {error}") from error
    if url.get_backend_name() != "postgresql":
        raise InvalidOption(
            f"{url.get_backend_name()}:// is no kind of store; give a path (SQLite) or postgresql://USER@HOST/DATABASE"
        )
    trust.refuse(f"connect to {url.render_as_string(hide_password=True)}")
    require("psycopg", extra="postgres", purpose="a store in PostgreSQL")
    options: dict[str, Any] = {} if "connect_timeout" in url.query else {"connect_timeout": 10}
    if not writable:
        options["options"] = f"-c default_transaction_read_only=on {url.query.get('options', '')}"
    engine = create_engine(url.set(drivername="postgresql+psycopg"), connect_args=options, pool_pre_ping=True)
    return Database(engine, label=url.render_as_string(hide_password=True), path=None, writable=writable)
