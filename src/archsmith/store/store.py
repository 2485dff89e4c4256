"""The store: every evaluation once, under its identity, and the journals of runs."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, select

from archsmith.errors import InvalidOption
from archsmith.evaluation import Evaluation
from archsmith.progress import SILENT, Reporter
from archsmith.store import _forms, _records
from archsmith.store._database import Database, open_database
from archsmith.store._records import Identity
from archsmith.store._schema import EVALUATIONS, RUNS
from archsmith.store.journal import Journal


class Store:
    """Evaluations and journals in one database; open it with :meth:`open`, close it or use it in ``with``.

    Reading needs no lock. Adding evaluations is safe from any number of processes; writing a journal
    takes the run's lock.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(
        cls,
        where: str | Path,
        *,
        create: bool = True,
        writable: bool = True,
        reporter: Reporter = SILENT,
    ) -> Store:
        """The store at a path (SQLite) or ``postgresql://`` URL.

        A file or folder that may only be read is opened for reading; writing to it is then refused.

        Args:
            where: path of a file, or URL.
            create: whether to make a file that is missing, and the folders above it.
            writable: whether to open it for writing; otherwise nothing is changed in the database or its folder, and a
                file that no process is writing is read as it was when it was opened.
            reporter: gets progress while a server does not respond; after a minute the call that needs it fails.
                Whatever it raises ends the wait.

        Raises:
            DamagedFile: when it is no store, or is truncated.
            RunMismatch: when a newer archsmith wrote it.
            UserError: when it is missing and ``create`` is false, or cannot be reached.
        """
        return cls(open_database(where, create=create, writable=writable, reporter=reporter))

    @property
    def label(self) -> str:
        """Its path, or its URL without the password."""
        return self._database.label

    @property
    def writable(self) -> bool:
        """Whether it can be written to."""
        return self._database.writable

    def get(self, identity: Identity) -> Evaluation | None:
        """The evaluation of that identity, or ``None``."""
        return self._database.read(
            lambda connection: _records.find(connection, [identity], label=self.label).get(identity)
        )

    def add(self, evaluation: Evaluation) -> Evaluation:
        """Store an evaluation and return it; if its identity is stored already, the stored one is returned."""

        def put(connection: Connection) -> Evaluation:
            _records.put(connection, [evaluation])
            return _records.find(connection, [evaluation.identity], label=self.label)[evaluation.identity]

        return self._database.write(put)

    def evaluations(self, space: str | None = None, evaluator: str | None = None) -> list[Evaluation]:
        """All evaluations in the order of their inserts; only those of a space or evaluator (fingerprints) if given."""
        query = select(EVALUATIONS.c.id, EVALUATIONS.c.record).order_by(EVALUATIONS.c.id)
        if space is not None:
            query = query.where(EVALUATIONS.c.space == space)
        if evaluator is not None:
            query = query.where(EVALUATIONS.c.evaluator == evaluator)
        found = self._database.read(lambda connection: connection.execute(query).all())
        return [_records.read(row, label=self.label) for row in found]

    def journal(self, name: str) -> Journal:
        """The journal of the run called ``name``; empty until :meth:`Journal.begin`."""
        if not name or len(name) > 200:
            raise InvalidOption(f"a run's name has 1 to 200 characters, got {len(name)}")
        if not name.isprintable():
            raise InvalidOption(f"a run's name has no control characters, got {name!r}")
        return Journal(self._database, name)

    def journals(self) -> list[str]:
        """Names of the runs that have begun, in that order."""
        query = select(RUNS.c.name).order_by(RUNS.c.id)
        found = list(self._database.read(lambda connection: connection.execute(query).scalars().all()))
        if odd := [name for name in found if not isinstance(name, str)]:
            raise _forms.damaged(f"the list of runs in {self.label}", f"{odd[0]!r} is no name")
        return found

    def close(self) -> None:
        """Close the database."""
        self._database.engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
