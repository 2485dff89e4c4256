"""The contract of a public benchmark: a search space with published values."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypedDict

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Proposal
from archsmith.benchmark import _file
from archsmith.benchmark._rows import Index
from archsmith.benchmark._sources import Sources
from archsmith.errors import DamagedFile, InvalidData, InvalidOption
from archsmith.evaluation import Evaluation
from archsmith.files import home_folder, misfit
from archsmith.method import Method, option_names
from archsmith.metric import Metric, check_known
from archsmith.space import ChoiceSpace
from archsmith.space.forest import AnyRows, Rows
from archsmith.value import Source, Value


@dataclass(frozen=True)
class Contents:
    """The result of an import.

    Args:
        rows: option indices of the space, ``(n, d)``.
        columns: metric -> values ``(n,)``, NaN where missing.
        origin: which published files they are from.
        arrays: other arrays that the benchmark needs, such as the weights of a predictor.
        facts: plain data that is stored in the table.
    """

    rows: NDArray[Any]
    columns: Mapping[str, NDArray[np.float64]]
    origin: str
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=lambda: MappingProxyType({}))
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


class _Header(TypedDict):
    """The benchmark's entries in the header of a table."""

    space: str
    spec: str
    origin: str
    facts: dict[str, Any]


class Benchmark(Method):
    """A search space with published values; imported from the published files, stored as a file of archsmith's own.

    Built from keyword options only (``dataset``, ...), all of them text with a default.

    Args:
        folder: of the imported tables; ``$ARCHSMITH_HOME/benchmarks`` by default.

    Attributes:
        exhaustive: whether :attr:`rows` are all architectures of the space; otherwise values beyond the rows are
            predicted, and it is a *surrogate* benchmark.
    """

    exhaustive: ClassVar[bool] = True

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or home_folder() / "benchmarks"

    @classmethod
    def variants(cls) -> list[Benchmark]:
        """One instance for each table: of a benchmark with options, one for each of their values."""
        return [cls()]

    # What a table says about itself ------------------------------------------------------------------------------

    @property
    @abstractmethod
    def space(self) -> ChoiceSpace:
        """All architectures, with a graph view."""

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Metric]:
        """Name -> metric of each architecture, with unit and direction."""

    @property
    @abstractmethod
    def how_to_get(self) -> str:
        """A sentence that says which public files it is made from."""

    @abstractmethod
    def read(self, sources: Sources) -> Contents | None:
        """Read published files, in any order of rows; ``None`` where they are missing.

        Raises:
            InvalidData: for files of another form.
        """

    def source(self, metric: str) -> Source:
        """Source of the values: ``"table"`` for published ones."""
        del metric
        return "table"

    @property
    def name(self) -> str:
        """As ``open_benchmark`` takes it, without options."""
        module = type(self).__module__
        own = module.startswith("archsmith.benchmark.")
        return module.rpartition(".")[2] if own else f"{module}:{type(self).__qualname__}"

    @property
    def spec(self) -> str:
        """Such as ``nasbench_graph:dataset=cora``: with all options."""
        options = [f"{option}={getattr(self, option)}" for option in sorted(option_names(type(self)))]
        return ":".join(filter(None, [self.name, ",".join(options)]))

    @property
    def path(self) -> Path:
        """The imported table."""
        options = [str(getattr(self, option)) for option in sorted(option_names(type(self)))]
        return self._folder / ("-".join([self.name.rpartition(":")[2], *options]) + ".table")

    # What is in it -----------------------------------------------------------------------------------------------

    @cached_property
    def _table(self) -> _file.TableFile:
        table = _file.read(self.path, again=self._again)
        if misfit(table.header, _Header) or not self._fits(table):
            raise DamagedFile(f"the table {self.path} is of another benchmark or version; {self._again}")
        return table

    def _fits(self, table: _file.TableFile) -> bool:
        """Whether a table belongs to this benchmark, with a row and a value of every metric for each architecture."""
        rows = table.arrays.get("rows", np.empty(0))
        columns = [table.arrays.get(f"column:{name}", np.empty((0, 0))) for name in self.metrics]
        same = (table.header["space"], table.header["spec"]) == (self.space.fingerprint, self.spec)
        whole = rows.dtype == np.int16 and rows.shape[1:] == (len(self.space.choices),)
        options = self.space.cardinalities
        known = whole and bool(((rows >= 0) & (rows < options)).all())
        return same and known and all(c.dtype == np.float64 and c.shape == rows.shape[:1] for c in columns)

    @property
    def _again(self) -> str:
        return f"{self.how_to_get} Then give: archsmith bench import {self.spec} --from FOLDER"

    @property
    def rows(self) -> Rows:
        """Canonical option indices, ``(n, d)``, memory-mapped."""
        return self._table.arrays["rows"]

    @cached_property
    def columns(self) -> Mapping[str, NDArray[np.float64]]:
        """Metric -> published values in the order of :attr:`rows`, ``(n,)``; NaN where missing."""
        return MappingProxyType({name: self._table.arrays[f"column:{name}"] for name in self.metrics})

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Other arrays of the table."""
        return self._table.arrays

    @property
    def origin(self) -> str:
        """The published files that it was made from."""
        return str(self._table.header["origin"])

    @property
    def facts(self) -> Mapping[str, Any]:
        """Results of the import; plain data."""
        return MappingProxyType(self._table.header["facts"])

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of space and values."""
        parts = (self.spec, self.space.fingerprint, sorted(self.metrics), self._table.sha256)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def fingerprint_of(self, metrics: Sequence[str]) -> str:
        """The fingerprint of an evaluator with these metrics: which metrics lack values decides on failure."""
        return hashlib.sha256(repr((self.fingerprint, tuple(metrics))).encode()).hexdigest()[:16]

    @cached_property
    def _index(self) -> Index:
        return Index(self.rows, self.space.cardinalities)

    def find(self, rows: AnyRows) -> NDArray[np.int64]:
        """Position of each of ``rows (k, d)`` in :attr:`rows`, ``(k,)``; -1 where it has none."""
        return self._index.find(self.space.canonical_rows(rows))

    def values(self, rows: AnyRows, metrics: Sequence[str]) -> NDArray[np.float64]:
        """Values of ``rows (k, d)``, ``(k, m)``; NaN where there is none.

        Raises:
            UnknownName: for a metric that it does not have.
        """
        check_known(metrics, self.metrics)
        at = self.find(rows)
        found = np.column_stack([self.columns[m][at] for m in metrics])
        found[at < 0] = np.nan
        return found

    def evaluate(self, proposal: Proposal, metrics: Sequence[str]) -> Evaluation:
        """The record of one proposal; failed, with the reason, where one of ``metrics`` is missing.

        Raises:
            UnknownName: for a metric that it does not have.
            InvalidArchitecture: for an architecture of another space.
            InvalidOption: for a partial fidelity, which tables do not have.
        """
        if proposal.fidelity:
            raise InvalidOption(f"{self.spec} has full trainings only, no fidelity {dict(proposal.fidelity)}")
        found = self.values(self.space.rows([proposal.architecture]), metrics)[0].tolist()
        by_name = dict(zip(metrics, found, strict=True))
        missing = [name for name, value in by_name.items() if not np.isfinite(value)]
        evaluator = self.fingerprint_of(metrics)
        if missing:
            reason = f"{self.spec} has no {', '.join(missing)} of this architecture"
            return Evaluation(proposal=proposal, values={}, evaluator=evaluator, status="failed", reason=reason)
        values = {name: Value(value, self.source(name)) for name, value in by_name.items()}
        return Evaluation(proposal=proposal, values=values, evaluator=evaluator)

    # Import ------------------------------------------------------------------------------------------------------

    def build(self, sources: Sources) -> bool:
        """Write :attr:`path` from published files; returns whether there were any.

        Raises:
            InvalidData: for incomplete files.
        """
        contents = self.read(sources)
        if contents is None:
            return False
        rows = self.space.canonical_rows(contents.rows).astype(np.int16)
        rows, first = np.unique(rows, axis=0, return_index=True)
        self._check(contents, rows, str(sources.place))
        columns = {f"column:{name}": np.asarray(contents.columns[name][first], np.float64) for name in self.metrics}
        header = {
            "spec": self.spec,
            "space": self.space.fingerprint,
            "origin": contents.origin,
            "facts": dict(contents.facts),
        }
        _file.write(self.path, header, {"rows": rows, **columns, **contents.arrays})
        return True

    def _check(self, contents: Contents, rows: Rows, place: str) -> None:
        if len(rows) < len(contents.rows):
            raise InvalidData(f"{place}: {len(contents.rows) - len(rows)} architectures of {self.spec} are there twice")
        if not self.space.valid(rows).all():
            raise InvalidData(
                f"{place}: there are architectures outside the space of {self.spec}; fetch the files anew"
            )
        size = self.space.size().value
        if self.exhaustive and len(rows) < size:
            raise InvalidData(
                f"{place}: {len(rows):,} of the {size:,} architectures of {self.spec}; fetch the files anew"
            )
