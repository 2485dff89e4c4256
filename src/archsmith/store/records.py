"""Evaluations as rows of the database."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, insert, select

from archsmith.errors import DamagedFile, InvalidOption
from archsmith.evaluation import Evaluation
from archsmith.store.schema import EVALUATIONS

Identity = tuple[str, str, str, str, int]
"""Space, key, evaluator, fidelity, seed; see :attr:`archsmith.evaluation.Evaluation.identity`."""


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


def load(text: str, *, label: str) -> Any:
    """The inverse of :func:`dump`.

    Raises:
        DamagedFile: when the text is no JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise DamagedFile(f"{label} holds a damaged record ({error}); restore it from a copy") from error


def put(connection: Connection, evaluation: Evaluation) -> tuple[int, bool]:
    """Insert an evaluation unless its identity is there; the row's id, and whether it is new.

    Check and insert do not race: the caller's transaction is the only one that writes.
    """
    found = connection.execute(select(EVALUATIONS.c.id).where(matches(evaluation.identity))).scalar_one_or_none()
    if found is not None:
        return int(found), False
    space, key, evaluator, fidelity, seed = evaluation.identity
    record = dump(evaluation.to_json(), what="an evaluation")
    result = connection.execute(
        insert(EVALUATIONS).values(
            space=space, key=key, evaluator=evaluator, fidelity=fidelity, seed=seed, record=record
        )
    )
    [number] = result.inserted_primary_key or (None,)
    return int(number), True  # type: ignore[arg-type]


def matches(identity: Identity) -> ColumnElement[bool]:
    """The condition that selects one identity."""
    names = ("space", "key", "evaluator", "fidelity", "seed")
    return and_(*(EVALUATIONS.c[name] == value for name, value in zip(names, identity, strict=True)))


def read(record: str, *, label: str) -> Evaluation:
    """An evaluation from its stored text."""
    return Evaluation.from_json(load(record, label=label))
