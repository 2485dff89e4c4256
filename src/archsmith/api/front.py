"""The result of a search: the networks of the final front, and those that were dropped at the last check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from archsmith.architecture import Architecture
from archsmith.errors import Infeasible, InvalidOption, UserError, require
from archsmith.evaluation import Evaluation
from archsmith.feasibility import infeasible
from archsmith.metric import KNOWN_METRICS, Limit, Objective, check_known, limits
from archsmith.progress import SILENT, Reporter
from archsmith.report.of_run import nothing_left
from archsmith.runs.results import final_networks, recorded_search

if TYPE_CHECKING:
    from torch import nn

    from archsmith.certificate import Build
    from archsmith.delivery.files import Written
    from archsmith.hardware.meters import MeterOnUse
    from archsmith.report.data import ReportData
    from archsmith.runs.context import SearchContext
    from archsmith.runs.folder import RunFolder


@dataclass(frozen=True)
class Member:
    """One network of the front.

    Args:
        name: the first eight digits of its key, as in tables, files and commands.
        belief: its evaluation in the search.
        final: its evaluation in the last check: latency at full effort, the test split.
        context: returns the supernet and the data, rebuilt from the run's folder if necessary.
    """

    name: str
    belief: Evaluation
    final: Evaluation
    context: Callable[[], SearchContext] = field(repr=False, compare=False)

    @property
    def architecture(self) -> Architecture:
        """Its architecture."""
        return self.final.architecture

    def __getitem__(self, metric: str) -> float:
        return self.final[metric]

    def module(self) -> nn.Module:
        """The network as a plain module in evaluation mode, with the weights it inherits, in fp32.

        Where layers are quantised, the file that :meth:`export` writes is the network that was measured.
        """
        context = self.context()
        own, _ = context.split(self.architecture)
        return context.supernet.extract(own)

    def export(
        self, path: str | Path, *, meters: Mapping[str, MeterOnUse] | None = None, build: Build | None = None
    ) -> Written:
        """Write it as ONNX at ``path`` and as safetensors beside it, and certify it.

        Args:
            path: of the ONNX file.
            meters: device -> open meter; opened for this network unless given.
            build: rebuilds the supernet from the run's source; give one function for several networks to build it once.

        Raises:
            InvalidOption: when ``path`` does not end in ``.onnx``.
            StorageFull: when the disk is full; no incomplete file is left.
        """
        from archsmith.delivery.files import export_network
        from archsmith.source.building import rebuild

        return export_network(
            self.name,
            self.architecture,
            self.belief.values,
            Path(path),
            self.context(),
            meters=meters,
            build=build or rebuild,
        )

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {value.value:.4g}" for name, value in self.final.values.items())
        return f"<{self.name}: {values}>"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "architecture": self.architecture.to_dict(),
            "values": {name: value.to_json() for name, value in self.final.values.items()},
            "believed": {name: value.to_json() for name, value in self.belief.values.items()},
        }


@dataclass(frozen=True)
class Front(Sequence[Member]):
    """A Pareto front, in ascending order of the last objective.

    Args:
        members: networks whose re-measured values meet all limits, none dominated by another.
        objectives: of the search.
        limits: of the search, absolute.
        dropped: name -> why a network of the search's front is not in the final one.
        run: the run's folder.
    """

    members: tuple[Member, ...]
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    dropped: dict[str, str]
    run: RunFolder

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        return "\n".join([f"<front of {len(self)} networks in {self.run.path}", *map(repr, self.members)]) + ">"

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    @overload
    def __getitem__(self, index: int) -> Member: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Member, ...]: ...
    def __getitem__(self, index: int | slice) -> Member | tuple[Member, ...]:
        return self.members[index]

    def pick(self, *wanted: str | Limit, by: str | None = None) -> Member:
        """The best network within further limits.

        Args:
            wanted: limits such as ``"latency_ms<=2"``; the pessimistic end of each interval must meet them.
            by: the metric to optimise; the first objective unless given.

        Raises:
            UnknownName: for a metric that was not measured.
            Infeasible: when no member is within the limits; names the nearest value.
        """
        bounds = limits(wanted)
        if not self.members:
            raise Infeasible("the front is empty: no network met the limits of the search")
        check_known([b.metric for b in bounds], self.members[0].final.values)
        check_known([by] if by else [], self.members[0].final.values)
        objective = self._objective(by)
        within = [m for m in self.members if m.final.feasible(bounds)]
        if not within:
            raise Infeasible(
                infeasible(bounds, [m.final for m in self.members], among=f"{len(self)} networks of the front")
            )
        return min(within, key=lambda m: objective.cost(m[objective.metric]))

    def named(self, name: str) -> Member:
        """The member called ``name``, or whose name begins with it.

        Raises:
            InvalidOption: when there is none, or more than one.
        """
        found = [m for m in self.members if m.name.startswith(name)]
        if len(found) != 1:
            what = "several networks begin" if found else "no network begins"
            raise InvalidOption(f"{what} with {name!r}; there are {', '.join(m.name for m in self.members) or 'none'}")
        return found[0]

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``: one row a network, its metrics, their intervals and its choices."""
        pandas = require("pandas", extra="data", purpose="a table of the front")
        rows = []
        for m in self.members:
            row: dict[str, Any] = {"name": m.name}
            for name, value in m.final.values.items():
                row[name] = value.value
                if value.has_interval:
                    row |= {f"{name}_low": value.low, f"{name}_high": value.high}
            rows.append(row | m.architecture.to_dict())
        return pandas.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Plain data, for scripts."""
        return {
            "run": str(self.run.path),
            "objectives": [{"metric": o.metric, "goal": o.goal} for o in self.objectives],
            "limits": [limit.to_json() for limit in self.limits],
            "front": [m.to_json() for m in self.members],
            "dropped": dict(self.dropped),
        }

    def report_data(self) -> ReportData:
        """The data that tables and the report show."""
        from archsmith.report.of_run import report_data

        return report_data(self.run)

    def report(self) -> Path:
        """Write ``report.html`` into the run's folder: one page that opens without internet access."""
        from archsmith.report.of_run import write_report

        return write_report(self.run)

    def _objective(self, by: str | None) -> Objective:
        """The objective to pick by: one of the search's, or one of archsmith's metrics in its usual direction."""
        for objective in self.objectives:
            if by in (None, objective.metric):
                return objective
        known = KNOWN_METRICS.get(str(by).partition("@")[0])
        if known is None:
            raise InvalidOption(f"{by!r} was no objective, so it is not known whether more or less of it is better")
        return Objective(str(by), known.goal)


def read_front(
    run: RunFolder, *, context: Callable[[], SearchContext] | None = None, reporter: Reporter = SILENT
) -> Front:
    """The front after the last check.

    Args:
        run: whose search has ended.
        context: returns supernet and data; they are rebuilt from the run's folder unless given.
        reporter: gets progress when they are rebuilt.

    Raises:
        Infeasible: when no network meets the limits.
        UserError: when the search has not ended.
    """
    with run.store() as store:
        objectives, limits, evaluations = recorded_search(run, store)
        found = final_networks(run, store, evaluations)
    if not found and evaluations and not any(e.feasible(limits) for e in evaluations):
        raise Infeasible(nothing_left(run))
    if not found:
        raise UserError(f"the search in {run.path} has not ended yet; give its `archsmith search` command again")
    again = context or _rebuilt(run, reporter)  # shared by all members: the supernet is built once
    members = tuple(Member(c.name, c.belief, c.final, again) for c in found if c.final and not c.dropped)
    return Front(members, objectives, limits, {c.name: c.dropped for c in found if c.dropped}, run)


def _rebuilt(run: RunFolder, reporter: Reporter) -> Callable[[], SearchContext]:
    @cache
    def context() -> SearchContext:
        from archsmith.runs.context import context_of

        return context_of(run, reporter=reporter)

    return context
