"""Evaluations as rows of the database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, select
from sqlalchemy.dialects import postgresql, sqlite

from archsmith.errors import InvalidOption
from archsmith.evaluation import Evaluation
from archsmith.store import _forms
from archsmith.store._schema import EVALUATIONS

Identity = tuple[str, str, str, str, int]
"""Space, key, evaluator, fidelity, seed; see :attr:`archsmith.evaluation.Evaluation.identity`."""

_IDENTITY = ("space", "key", "evaluator", "fidelity", "seed")

T = TypeVar("T")


def dump(data: Any, *, what: str) -> str:
    """Canonical text: equal data gives equal text.

    Raises:
        InvalidOption: when ``data`` is not plain JSON data.
    """
    try:
        return json.dumps(data, sort_keys=True, separators=(",", ":"))
    except TypeError as error:
        raise InvalidOption(
            f"{what} cannot be stored: {error}; use plain numbers, text, lists and dictionaries"
        ) from error


def put(connection: Connection, evaluations: Sequence[Evaluation]) -> tuple[list[int], int]:
    """Insert those whose identity is not stored yet; returns the row of each, and how many are new.

    Two runs may insert the same identity at once: the first one is kept, the second waits for it and finds it.
    """
    rows = {identity: row.id for identity, row in _rows(connection, [e.identity for e in evaluations]).items()}
    new = 0
    for evaluation in evaluations:
        if evaluation.identity in rows:
            continue
        values = dict(zip(_IDENTITY, evaluation.identity, strict=True))
        record = dump(evaluation.to_json(), what="an evaluation")
        query = _insert(connection).values(record=record, **values).on_conflict_do_nothing()
        number = connection.execute(query.returning(EVALUATIONS.c.id)).scalar_one_or_none()
        new += number is not None
        if number is None:
            number = _rows(connection, [evaluation.identity])[evaluation.identity].id
        rows[evaluation.identity] = number
    return [rows[e.identity] for e in evaluations], new


def _insert(connection: Connection) -> sqlite.Insert | postgresql.Insert:
    if connection.dialect.name == "sqlite":
        return sqlite.insert(EVALUATIONS)
    return postgresql.insert(EVALUATIONS)


def find(connection: Connection, identities: Sequence[Identity], *, label: str) -> dict[Identity, Evaluation]:
    """The evaluations of those identities that are stored."""
    rows = _rows(connection, identities)
    return {identity: read(row, label=label, identity=identity) for identity, row in rows.items()}


def by_number(connection: Connection, numbers: Sequence[int], *, label: str) -> dict[int, Evaluation]:
    """The evaluations in these rows."""
    found: dict[int, Evaluation] = {}
    for some in _chunks(numbers):
        query = select(EVALUATIONS.c.id, EVALUATIONS.c.record).where(EVALUATIONS.c.id.in_(some))
        found |= {row.id: read(row, label=label) for row in connection.execute(query)}
    return found


def read(row: Any, *, label: str, identity: Identity | None = None) -> Evaluation:
    """An evaluation from its row; it must have ``identity`` where that is given.

    Raises:
        DamagedFile: when the row is of a wrong form or contradicts itself.
    """
    return _forms.evaluation(row.record, what=f"evaluation {row.id} in {label}", identity=identity)


def _rows(connection: Connection, identities: Sequence[Identity]) -> dict[Identity, Row[Any]]:
    wanted = set(identities)
    found: dict[Identity, Row[Any]] = {}
    for keys in _chunks(sorted({key for _, key, *_ in identities})):
        for row in connection.execute(select(EVALUATIONS).where(EVALUATIONS.c.key.in_(keys))):
            identity = (row.space, row.key, row.evaluator, row.fidelity, row.seed)
            if identity in wanted:
                found[identity] = row
    return found


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), 500):  # databases limit the parameters of one query
        yield items[start : start + 500]
