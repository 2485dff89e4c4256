"""The database of evaluations and journals: SQLite by path, PostgreSQL by URL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine

from archsmith.progress import Reporter
from archsmith.store import _schema
from archsmith.store._failures import damaged, explained, read_only
from archsmith.store._postgres import open_server
from archsmith.store._sqlite import open_file
from archsmith.store._waiting import Patience
from archsmith.store.locks import AdvisoryLock, FileLock

T = TypeVar("T")


class Database:
    """Transactions, locks and errors, the same for every kind of database.

    Args:
        engine: of SQLAlchemy.
        label: its name in errors.
        path: of SQLite's file; ``None`` for a server.
        writable: whether it may be written.
        reporter: gets progress while a server does not respond.
    """

    def __init__(self, engine: Engine, *, label: str, path: Path | None, writable: bool, reporter: Reporter) -> None:
        self.engine = engine
        self.label = label
        self.path = path
        self.writable = writable
        self.patience = Patience(label, reporter)
        self._held: dict[str, tuple[FileLock | AdvisoryLock, int]] = {}

    def read(self, work: Callable[[Connection], T]) -> T:
        """The result of ``work`` in one transaction; it is called again if the connection is lost meanwhile."""

        def transaction(again: bool) -> T:  # noqa: FBT001 - the form of Patience
            if again:
                self._renew()
            with self.engine.begin() as connection:
                return work(connection)

        return self._ended(transaction)

    def write(self, work: Callable[[Connection], T], done: Callable[[Connection], T | None] = lambda _: None) -> T:
        """The result of ``work``, once its changes are on disk: all of them or none.

        Args:
            work: changes the database; called again if the connection is lost meanwhile.
            done: called before ``work`` is repeated: returns the result of ``work`` if its changes were committed
                before the connection was lost, else ``None``.

        Raises:
            UserError: when the store is read-only, or the server does not come back.
            StorageFull: when the disk is full; what was committed before is intact.
        """
        if not self.writable:
            raise read_only(self.label)
        writing = self.engine.execution_options(begin="BEGIN IMMEDIATE")

        def transaction(again: bool) -> T:  # noqa: FBT001 - the form of Patience
            if again:
                self._renew()
            with writing.begin() as connection:
                found = done(connection) if again else None
                return work(connection) if found is None else found

        return self._ended(transaction)

    def _ended(self, transaction: Callable[[bool], T]) -> T:
        again = False
        with explained(self.label):
            return self.patience(transaction) if self.path is None else transaction(again)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock for writing run ``name`` (of SQLite: any run in the file); may be nested.

        Raises:
            RunLocked: naming the process that holds it.
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
                label = f"run {name!r} in {self.label}"
                return self.patience(lambda _: AdvisoryLock(self.engine, name, label=label))
            return FileLock(self.path.with_name(self.path.name + ".lock"), label=self.label)

    def _renew(self) -> None:
        """Take the locks again that a server released when the connection was lost."""
        for lock, _ in self._held.values():
            if isinstance(lock, AdvisoryLock):
                lock.renew()

    def _scope(self, name: str) -> str:
        return name if self.path is None else ""

    def prepare(self) -> None:
        """Create the tables, or upgrade them to this version's schema; nothing is written where they fit."""
        found = self.read(self._checked_version)
        if not self.writable or found == len(_schema.STEPS):
            return
        if found == 0 and self.path is not None:
            # a setting of the file, which cannot be made inside a transaction
            with explained(self.label), self.engine.execution_options(begin="SELECT 1").connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        self.write(lambda connection: _schema.upgrade(connection, label=self.label))

    def _checked_version(self, connection: Connection) -> int:
        """The version of the schema, after the checks that reading the database needs."""
        if self.path is not None:
            _schema.check_own(connection, label=self.label)
            _check_whole(connection, label=self.label)
        if not self.writable:
            _schema.check_readable(connection, label=self.label)
        return _schema.version(connection, label=self.label)


def open_database(where: str | Path, *, create: bool, writable: bool, reporter: Reporter) -> Database:
    """The database at a path or ``postgresql://`` URL, ready for use."""
    if "://" in str(where):
        engine, label = open_server(str(where), writable=writable)
        database = Database(engine, label=label, path=None, writable=writable, reporter=reporter)
    else:
        engine, path, writable = open_file(Path(where), create=create, writable=writable)
        database = Database(engine, label=str(path), path=path, writable=writable, reporter=reporter)
    try:
        database.prepare()
    except BaseException:
        database.engine.dispose()
        raise
    return database


def _check_whole(connection: Connection, *, label: str) -> None:
    # 1.5 ms for a thousand evaluations; without it SQLite opens a truncated file, and reads zeros at its end
    result = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if result != "ok":
        raise damaged(label, str(result).splitlines()[-1])
