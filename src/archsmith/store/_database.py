"""A database that evaluations and journals are kept in: SQLite by path, PostgreSQL by URL."""

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
    """Transactions, locks and errors that are the same for every kind of database.

    Args:
        engine: of SQLAlchemy.
        label: how errors name it.
        path: of the file, where it is one.
        writable: whether it may be written at all.
        reporter: hears that a server is waited for.
    """

    def __init__(self, engine: Engine, *, label: str, path: Path | None, writable: bool, reporter: Reporter) -> None:
        self.engine = engine
        self.label = label
        self.path = path
        self.writable = writable
        self.patience = Patience(label, reporter)
        self._held: dict[str, tuple[FileLock | AdvisoryLock, int]] = {}

    def read(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` finds in one transaction; it is called again where the server was lost meanwhile."""

        def transaction(again: bool) -> T:  # noqa: FBT001 - the form of Patience
            if again:
                self._renew()
            with self.engine.begin() as connection:
                return work(connection)

        return self._ended(transaction)

    def write(self, work: Callable[[Connection], T], done: Callable[[Connection], T | None] = lambda _: None) -> T:
        """What ``work`` gives back, once all that it does is durable; all of it or nothing.

        Args:
            work: is called again where the server was lost meanwhile.
            done: is asked before that: what ``work`` would give back, where all that it does is there already,
                because the server was lost after it had committed.

        Raises:
            UserError: when the store is read-only, or the server stays away.
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
                label = f"run {name!r} in {self.label}"
                return self.patience(lambda _: AdvisoryLock(self.engine, name, label=label))
            return FileLock(self.path.with_name(self.path.name + ".lock"), label=self.label)

    def _renew(self) -> None:
        """Take the locks again that a server forgot when it lost the connection."""
        for lock, _ in self._held.values():
            if isinstance(lock, AdvisoryLock):
                lock.renew()

    def _scope(self, name: str) -> str:
        return name if self.path is None else ""

    def prepare(self) -> None:
        """Create the tables, or bring them to this version's schema; nothing is written where they fit."""
        found = self.read(self._looked_at)
        if not self.writable or found == len(_schema.STEPS):
            return
        if found == 0 and self.path is not None:
            # stays with the file, and cannot be set inside a transaction
            with explained(self.label), self.engine.execution_options(begin="SELECT 1").connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        self.write(lambda connection: _schema.upgrade(connection, label=self.label))

    def _looked_at(self, connection: Connection) -> int:
        """The version of the schema, once nothing speaks against reading what is there."""
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
    # 1.5 ms for a thousand evaluations; without it a file that was cut off opens, and ends in zeros
    says = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if says != "ok":
        raise damaged(label, str(says).splitlines()[-1])
