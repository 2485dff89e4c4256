"""Importing public tables, and checking imported ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from archsmith.benchmark import default_folder, describe_benchmark, import_benchmark, open_benchmark, specs
from archsmith.errors import MissingTable, unknown
from archsmith.progress import Listener, Progress, nobody


@dataclass(frozen=True)
class ImportedTable:
    """One table, found or not.

    Args:
        spec: of the benchmark.
        file: of its table; empty where there is none.
        architectures: how many it has values of.
        note: where its values come from, or why there is no file.
    """

    spec: str
    file: str
    architectures: int
    note: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def import_tables(
    names: Sequence[str] = (),
    *,
    source: Path | None = None,
    folder: Path | None = None,
    on_progress: Listener = nobody,
) -> list[ImportedTable]:
    """Make tables from published files that you have downloaded.

    Args:
        names: benchmarks with or without options (``nasbench_graph`` means all its data sets); all that are found
            when empty.
        source: a folder or file; ``$ARCHSMITH_DATA``, else the current folder, by default.
        folder: where to write them; ``$ARCHSMITH_HOME/benchmarks`` by default.
        on_progress: called before each table.

    Raises:
        MissingTable: when ``source`` has none of them, or lacks one that was named.
        UnknownName: for a benchmark that does not exist.
    """
    source = source or Path(os.environ.get("ARCHSMITH_DATA") or ".")
    wanted = _expanded(names)
    found = []
    for i, spec in enumerate(wanted):
        on_progress(Progress("import", spec, done=i, total=len(wanted)))
        try:
            import_benchmark(spec, source, folder)
        except MissingTable as absent:
            if names:
                raise
            found.append(ImportedTable(spec, "", 0, str(absent)))
        else:
            found.append(_described(spec, folder))
    if not any(table.file for table in found):
        raise MissingTable(f"{source} holds no published table. " + " ".join(_how_to_get(wanted)))
    on_progress(Progress("import", f"into {folder or default_folder()}", done=len(wanted), total=len(wanted)))
    return found


def check_tables(names: Sequence[str] = (), *, folder: Path | None = None) -> list[ImportedTable]:
    """Read every byte of tables that were imported.

    Raises:
        MissingTable: for a named table that was not imported.
        DamagedFile: for a table that does not match its checksums.
    """
    found = []
    for spec in _expanded(names):
        try:
            found.append(_described(spec, folder))
        except MissingTable as absent:
            if names:
                raise
            found.append(ImportedTable(spec, "", 0, str(absent)))
    return found


def _described(spec: str, folder: Path | None) -> ImportedTable:
    table = open_benchmark(spec, folder)
    return ImportedTable(spec, str(table.path), len(table.rows), table.origin)


def _expanded(names: Sequence[str]) -> list[str]:
    known = specs()
    found = []
    for name in names or known:
        match = [spec for spec in known if name in (spec, spec.partition(":")[0])]
        if not match and ":" in name:
            match = [describe_benchmark(name).spec]  # a user's own benchmark; raises for wrong options
        if not match:
            raise unknown("benchmark", name, dict.fromkeys([*(s.partition(":")[0] for s in known), *known]))
        found += match
    return list(dict.fromkeys(found))


def _how_to_get(wanted: Sequence[str]) -> list[str]:
    tables = {spec.partition(":")[0]: describe_benchmark(spec) for spec in reversed(wanted)}
    return [f"{name}: {table.how_to_get}" for name, table in sorted(tables.items())]
