"""The tables, and the steps that upgrade a store to the schema of this version."""

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
_UPGRADE_LOCK = 0x61726368
"""Key of the PostgreSQL lock for creating or upgrading the tables."""

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
"""Step ``i`` turns schema ``i`` into ``i + 1``; a new store takes them all, so old and new stores end up equal."""


def version(connection: Connection, *, label: str) -> int:
    """The schema's version in an open store; 0 in an empty database.

    Raises:
        DamagedFile: when the database belongs to another program.
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
    """Refuse a SQLite file that contains code: triggers, views, generated columns, checks, indexes of expressions.

    archsmith makes none of them, and a hostile file could compute for hours with them or write when we write.

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
    if connection.dialect.name == "postgresql":  # in SQLite the transaction itself holds a lock
        connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
    found = version(connection, label=label)  # again: another process may have upgraded it meanwhile
    for step in STEPS[found:]:
        step(connection)
    if found == 0:
        connection.execute(insert(META).values(name="schema", value=str(len(STEPS))))
    else:
        connection.execute(update(META).where(META.c.name == "schema").values(value=str(len(STEPS))))


def check_readable(connection: Connection, *, label: str) -> None:
    """Refuse a store that must be upgraded, and so written, before it can be read.

    Raises:
        UserError: naming its schema.
    """
    found = version(connection, label=label)
    if found < len(STEPS):
        if not found:
            raise UserError(f"{label} is empty and opened read-only; has the run been started?")
        raise UserError(
            f"{label} has schema {found}, older than this version's {len(STEPS)}, and is opened read-only; go on with "
            "the run, or make the store writable, so that it can be upgraded"
        )
