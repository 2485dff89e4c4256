"""The tables, and the steps that bring a store to the schema of this version."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sqlalchemy import (
    Column,
    Connection,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    inspect,
    select,
    update,
)

from archsmith.errors import DamagedFile, RunMismatch, UserError

METADATA = MetaData()
_UPGRADES = 0x61726368
"""Key of the PostgreSQL lock of those who create or upgrade the tables."""

META = Table(
    "archsmith_meta",
    METADATA,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

EVALUATIONS = Table(
    "archsmith_evaluations",
    METADATA,
    Column("id", Integer, primary_key=True),  # ascending in the order of inserts
    Column("space", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("evaluator", Text, nullable=False),
    Column("fidelity", Text, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("record", Text, nullable=False),
    UniqueConstraint("key", "space", "evaluator", "fidelity", "seed"),  # looked up by key
)

RUNS = Table(
    "archsmith_runs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("header", Text, nullable=False),
)

JOURNAL = Table(
    "archsmith_journal",
    METADATA,
    Column("run", Integer, ForeignKey("archsmith_runs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("body", Text, nullable=False),
    Column("seconds", Float, nullable=False),
)

LOCKS = Table(
    "archsmith_locks",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("host", Text, nullable=False),
)


def _create(connection: Connection) -> None:
    METADATA.create_all(connection, checkfirst=False)


STEPS: Sequence[Callable[[Connection], None]] = (_create,)
"""Step ``i`` turns schema ``i`` into ``i + 1``; a new store takes them all, so that old and new end equal."""


def version(connection: Connection, *, label: str) -> int:
    """The schema of an open store; 0 where there is nothing yet.

    Raises:
        DamagedFile: when the database is somebody else's.
        RunMismatch: when it was written by a newer archsmith.
    """
    if not inspect(connection).has_table(META.name):
        if connection.dialect.name == "sqlite" and inspect(connection).get_table_names():
            raise DamagedFile(f"{label} is a database, but not a store of archsmith; give another file")
        return 0
    found = connection.execute(select(META.c.value).where(META.c.name == "schema")).scalars().first()
    if not isinstance(found, str) or not re.fullmatch(r"[1-9][0-9]{0,5}", found):
        raise DamagedFile(f"{label} has lost its schema version ({found!r:.80}); restore it from a copy")
    if int(found) > len(STEPS):
        raise RunMismatch(
            f"{label} was written by a newer archsmith (schema {found}; this one reads up to {len(STEPS)}): "
            "pip install -U archsmith"
        )
    return int(found)


def check_own(connection: Connection, *, label: str) -> None:
    """Refuse a SQLite file that would do more than keep rows.

    Triggers write when we write; views, generated columns, checks and indexes of expressions compute, for hours if
    their maker likes.

    Raises:
        DamagedFile: naming what archsmith did not make.
    """
    entries = connection.exec_driver_sql("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master").all()
    for kind, name, table, root, sql in entries:
        plain = kind in ("table", "index") and root and not _COMPUTING[kind].search(sql or "")
        if str(table).lower() in METADATA.tables and not plain:
            raise DamagedFile(
                f"{label} computes something in the {kind} {name}, which archsmith did not make; restore it from a copy"
            )


_COMPUTING = {
    "table": re.compile(r"\b(as|check|generated)\b", re.IGNORECASE),
    "index": re.compile(r"\(.*\(|\bwhere\b", re.IGNORECASE | re.DOTALL),
}


def upgrade(connection: Connection, *, label: str) -> None:
    """Take the missing steps, inside the caller's transaction; one process at a time."""
    if connection.dialect.name == "postgresql":  # SQLite's transaction has begun with its lock
        connection.execute(select(func.pg_advisory_xact_lock(_UPGRADES)))
    found = version(connection, label=label)  # again: another process may have been quicker
    for step in STEPS[found:]:
        step(connection)
    if found == 0:
        connection.execute(insert(META).values(name="schema", value=str(len(STEPS))))
    else:
        connection.execute(update(META).where(META.c.name == "schema").values(value=str(len(STEPS))))


def check_readable(connection: Connection, *, label: str) -> None:
    """Refuse a store that would have to be written before it can be read.

    Raises:
        UserError: naming its schema.
    """
    found = version(connection, label=label)
    if found < len(STEPS):
        if not found:
            raise UserError(f"{label} holds nothing yet, and is only read; has the run been started?")
        raise UserError(
            f"{label} is of schema {found}, before this version's {len(STEPS)}, and is only read; go on with the run, "
            "or make it writable, so that it is brought to this version's"
        )
