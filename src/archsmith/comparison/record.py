"""One search of a comparison, as a file: everything from which its figures can be computed again."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from archsmith.errors import DamagedFile, UserError
from archsmith.files import read_json, write_json

FORMAT = 1
RECORDS = "records"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What one strategy did on one problem from one seed.

    Args:
        problem: its name.
        benchmark: the benchmark's spec.
        objectives: as text, in order.
        within: see :class:`archsmith.comparison.problem.Problem`.
        table: fingerprint of the benchmark.
        contender: of :meth:`archsmith.comparison.contender.Contender.to_json`.
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
    contender: Mapping[str, Any]
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
        return str(self.contender["label"])

    def answers(self, wanted: Mapping[str, Any]) -> bool:
        """Whether this is the search that ``wanted`` describes, and went at least as far.

        Args:
            wanted: some of the fields; ``budget`` is the least that is accepted.
        """
        same = all(getattr(self, key) == value for key, value in wanted.items() if key != "budget")
        return same and (self.budget >= wanted["budget"] or self.ended != "budget")

    def to_json(self) -> dict[str, Any]:
        """Plain data; :meth:`from_json` reads it back."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """The inverse of :meth:`to_json`.

        Raises:
            DamagedFile: when ``data`` has another form.
        """
        try:
            if data["format"] != FORMAT:
                raise DamagedFile(f"its format is {data['format']}, this version reads {FORMAT}")
            rest = {key: value for key, value in data.items() if key != "format"}
            for key in ("objectives", "positions", "cpu_ms"):
                rest[key] = tuple(rest[key])
            for key in ("rows", "values"):
                if rest[key] is not None:
                    rest[key] = tuple(None if row is None else tuple(row) for row in rest[key])
            return cls(**rest)
        except (KeyError, TypeError, AttributeError) as error:
            raise DamagedFile(f"not the record of a search: {str(data)[:80]!r} ({error})") from error


def record_path(folder: Path, problem: str, label: str, seed: int) -> Path:
    """Where the record of a search lies; no two labels share a folder."""
    plain = re.sub(r"[^\w.=+-]+", "-", label).strip("-.")
    if plain != label:
        plain = f"{plain[:60]}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"
    return folder / RECORDS / problem / plain / f"{seed}.json"


def write_record(folder: Path, record: Record) -> None:
    """Store a record, whole or not at all."""
    write_json(record_path(folder, record.problem, record.label, record.seed), record.to_json())


def read_record(path: Path) -> Record:
    """One record.

    Raises:
        DamagedFile: when the file is no record.
    """
    way_out = "delete it and give the same command again"
    data = read_json(path, what="the record of a search", way_out=way_out)
    try:
        return Record.from_json(data)
    except DamagedFile as error:
        raise DamagedFile(f"{path} cannot be used: {error}; {way_out}") from error


def read_records(folder: Path) -> Iterator[Record]:
    """All records of a comparison.

    Raises:
        UserError: when there are none.
    """
    files = sorted((folder / RECORDS).glob("*/*/*.json"))
    if not files:
        to = shlex.quote(str(folder))
        raise UserError(f"{folder} holds no records of a comparison; `archsmith bench run --to {to}` makes them")
    return map(read_record, files)
