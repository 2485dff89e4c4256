"""The record of one search of a comparison: a file from which all its measures can be computed again."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from archsmith.errors import DamagedFile, UserError
from archsmith.files import read_json, write_json
from archsmith.forms import reading

FORMAT = 1
RECORDS = "records"
_MAX_EVALUATIONS = 10**6
"""Evaluations of the longest search that is read; curves of that length are kept in memory for each."""


class _Entry(TypedDict):
    """An entry as JSON."""

    label: str
    name: str
    options: dict[str, Any]
    graph: bool
    free: list[str]
    batch: int


class _Written(TypedDict):
    """A record as JSON."""

    format: int
    problem: str
    benchmark: str
    objectives: list[str]
    within: float | None
    table: str
    contender: _Entry
    code: str
    seed: int
    budget: int
    ended: Literal["budget", "finished", "known"]
    positions: list[int]
    rows: list[list[int]] | None
    values: list[list[float] | None] | None
    cpu_ms: list[float]
    versions: dict[str, str]


_OLD_NAMES = {"entry": "contender"}
"""Field -> its older name, which files keep."""


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """The search of one strategy on one problem from one seed.

    Args:
        problem: its name.
        benchmark: the benchmark's spec.
        objectives: as text, in order.
        within: see :class:`archsmith.comparison.problem.Problem`.
        table: fingerprint of the benchmark.
        entry: of :meth:`archsmith.comparison.entry.Entry.to_json`.
        code: digest of the strategy's code.
        seed: of this search.
        budget: evaluations that it was given.
        ended: why it ended: ``budget``, ``finished`` or ``known``.
        positions: row of the table of each evaluation, in order; -1 where the table has none.
        rows: option indices of each evaluation; only on a surrogate benchmark, whose table is not the whole space.
        values: of the objectives of each evaluation, ``None`` for a failed one; only on a surrogate benchmark.
        cpu_ms: CPU time of asking and telling for each evaluation.
        versions: of archsmith, Python and the libraries that were loaded.
    """

    problem: str
    benchmark: str
    objectives: tuple[str, ...]
    within: float | None
    table: str
    entry: Mapping[str, Any]
    code: str
    seed: int
    budget: int
    ended: str
    positions: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...] | None
    values: tuple[tuple[float, ...] | None, ...] | None
    cpu_ms: tuple[float, ...]
    versions: Mapping[str, str]

    @property
    def label(self) -> str:
        """The strategy's name in tables."""
        return str(self.entry["label"])

    def matches(self, wanted: Mapping[str, Any]) -> bool:
        """Whether this is the search that ``wanted`` describes, and went at least as far.

        Args:
            wanted: some of the fields; ``budget`` is the least that is accepted.
        """
        same = all(getattr(self, key) == value for key, value in wanted.items() if key != "budget")
        return same and (self.budget >= wanted["budget"] or self.ended != "budget")

    def to_json(self) -> dict[str, Any]:
        """Plain data; :meth:`from_json` reads it back."""
        return {"format": FORMAT, **{_OLD_NAMES.get(name, name): value for name, value in asdict(self).items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SearchRecord:
        """The inverse of :meth:`to_json`.

        Raises:
            DamagedFile: when ``data`` has another form.
        """
        with reading("the record of a search", data, dict[str, Any]):
            if data.get("format", FORMAT) != FORMAT:
                raise DamagedFile(f"its format is {data['format']!r:.20}, this version reads {FORMAT}")
        with reading("the record of a search", data, _Written):
            _check(data)
            names = {old: name for name, old in _OLD_NAMES.items()}
            rest = {names.get(key, key): value for key, value in data.items() if key != "format"}
            for key in ("objectives", "positions", "cpu_ms"):
                rest[key] = tuple(rest[key])
            for key in ("rows", "values"):
                if rest[key] is not None:
                    rest[key] = tuple(None if row is None else tuple(row) for row in rest[key])
            return cls(**rest)


def _check(data: Mapping[str, Any]) -> None:
    """Refuse data that contradict each other.

    Raises:
        ValueError: naming the contradiction.
    """
    length = len(data["positions"])
    if not 1 <= data["budget"] <= _MAX_EVALUATIONS or length > _MAX_EVALUATIONS:
        raise ValueError(f"a search has 1 to {_MAX_EVALUATIONS:,} evaluations")
    if any(data[key] is not None and len(data[key]) != length for key in ("cpu_ms", "rows", "values")):
        raise ValueError("positions, rows, values and times are of different numbers of evaluations")
    if any(not -1 <= at < 2**62 for at in data["positions"]):
        raise ValueError("a position is a row of the table, or -1")
    if any(row is not None and len(row) != len(data["objectives"]) for row in data["values"] or ()):
        raise ValueError("an evaluation has other values than the objectives")
    if any(not 0 <= ms < _LONGEST_MS for ms in data["cpu_ms"]):
        raise ValueError("times are from 0 on")


_LONGEST_MS = 1e12


def record_path(folder: Path, problem: str, label: str, seed: int) -> Path:
    """The path of a search's record; no two labels share a folder."""
    plain = re.sub(r"[^\w.=+-]+", "-", label).strip("-.")
    if plain != label:
        plain = f"{plain[:60]}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"
    return folder / RECORDS / problem / plain / f"{seed}.json"


def write_record(folder: Path, record: SearchRecord) -> None:
    """Write a record, as a whole or not at all."""
    write_json(record_path(folder, record.problem, record.label, record.seed), record.to_json())


def read_record(path: Path) -> SearchRecord:
    """One record.

    Raises:
        DamagedFile: when the file is no record.
    """
    way_out = "delete it and give the same command again"
    data = read_json(path, what="the record of a search", way_out=way_out)
    try:
        return SearchRecord.from_json(data)
    except DamagedFile as error:
        raise DamagedFile(f"{path} cannot be used: {error}; {way_out}") from error


def read_records(folder: Path) -> Iterator[SearchRecord]:
    """All records of a comparison.

    Raises:
        UserError: when there are none.
    """
    files = sorted((folder / RECORDS).glob("*/*/*.json"))
    if not files:
        to = shlex.quote(str(folder))
        raise UserError(f"{folder} holds no records of a comparison; `archsmith bench run --to {to}` makes them")
    return map(read_record, files)
