"""Benchmarks by name: ``nasbench201``, ``nasbench_graph:dataset=cora``."""

from __future__ import annotations

from pathlib import Path

from archsmith.benchmark._sources import Sources
from archsmith.benchmark.base import Benchmark
from archsmith.errors import InvalidOption, MissingTable, unknown
from archsmith.files import home_folder
from archsmith.method import load, names, option_names

ROLE_NAME = "benchmark"


def default_folder() -> Path:
    """Where imported tables are kept: ``$ARCHSMITH_HOME/benchmarks``."""
    return home_folder() / "benchmarks"


def specs() -> list[str]:
    """Every benchmark that archsmith knows, with each value of its options, in alphabetical order."""
    found = []
    for name in names(ROLE_NAME):
        method = load(ROLE_NAME, name)
        found += [b.spec for b in method.variants()]
    return found


def open_benchmark(spec: str | Benchmark, folder: Path | str | None = None) -> Benchmark:
    """The benchmark that ``NAME`` or ``NAME:OPTION=VALUE,...`` names, from its imported table.

    ``module:Class`` names a benchmark of the user's own. A benchmark is returned as it is.

    Args:
        spec: such as ``"nasbench_graph:dataset=cora"``.
        folder: of the imported tables; ``$ARCHSMITH_HOME/benchmarks`` by default.

    Raises:
        UnknownName: for a name, option or value that does not exist, with the nearest.
        MissingTable: when it has not been imported; the message says how to get it.
        DamagedFile: when its file is damaged.
    """
    if isinstance(spec, Benchmark):
        return spec
    found = describe_benchmark(spec, folder)
    _ = found.rows  # report a missing or damaged file now, not in the middle of a search
    return found


def describe_benchmark(spec: str, folder: Path | str | None = None) -> Benchmark:
    """The same without its table: space and metrics only."""
    name, options = _parse(spec)
    if ":" not in name and name not in names(ROLE_NAME):
        raise unknown("benchmark", name, names(ROLE_NAME))
    method = load(ROLE_NAME, name)
    if not (isinstance(method, type) and issubclass(method, Benchmark)):
        raise InvalidOption(f"{name} is no benchmark: a benchmark is a subclass of archsmith.benchmark.Benchmark")
    known = option_names(method)
    for option in options:
        if option not in known:
            raise unknown(f"option of {name}", option, known)
    return method(None if folder is None else Path(folder), **options)


def import_benchmark(spec: str, source: Path | str, folder: Path | str | None = None) -> Path:
    """Make a benchmark's table from published files, and check that it opens.

    Args:
        spec: as :func:`open_benchmark` takes it.
        source: a folder or a file with published tables.
        folder: of the imported tables; ``$ARCHSMITH_HOME/benchmarks`` by default.

    Returns:
        The file that was written.

    Raises:
        MissingTable: when ``source`` has no file of this benchmark.
        InvalidData: when a file has another form or is incomplete.
    """
    found = describe_benchmark(spec, folder)
    if not found.build(Sources(Path(source))):
        raise MissingTable(
            f"{source} holds no file of {found.spec}. {found.how_to_get} Then name its folder: "
            f"archsmith bench import {found.spec} --from FOLDER"
        )
    open_benchmark(found.spec, folder)
    return found.path


def _parse(spec: str) -> tuple[str, dict[str, str]]:
    """Name and options; a last part without ``=`` belongs to ``module:Class``."""
    name, colon, rest = spec.rpartition(":")
    if not colon or "=" not in rest:
        return spec, {}
    options: dict[str, str] = {}
    for item in rest.split(","):
        option, equals, value = (part.strip() for part in item.partition("="))
        if not (option and equals and value) or option in options:
            raise InvalidOption(f"cannot read {item!r} in {spec!r}; write NAME:OPTION=VALUE,OPTION=VALUE")
        options[option] = value
    return name, options
