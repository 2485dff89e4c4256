"""The data of a report, as plain values; the caller fills them from the store and the exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.evaluation import Evaluation
from archsmith.feasibility import on_front
from archsmith.metric import KNOWN_METRICS, Limit, Metric, Objective
from archsmith.space.base import Space


@dataclass(frozen=True)
class FinalNetwork:
    """One network of the last check: its evaluation in the search, its final evaluation, its files.

    Args:
        name: short and unique in the run, as in commands, such as ``"a1b2c3d4"``.
        evaluation: in the search.
        final: measured again at full effort, with the test split; ``None`` where that was not done.
        files: path relative to the run folder -> size in bytes.
        certificate: of the exported file, plain data; ``None`` where nothing was exported.
        dropped: why it is not in the final front (it breaks a limit now, ...); empty where it is.
    """

    name: str
    evaluation: Evaluation
    final: Evaluation | None = None
    files: Mapping[str, int] = field(default_factory=dict)
    certificate: Mapping[str, Any] | None = None
    dropped: str = ""

    @property
    def best_known(self) -> Evaluation:
        """The final evaluation where there is one, else that of the search."""
        return self.final if self.final is not None and self.final.ok else self.evaluation


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """One run, ready to be shown.

    Args:
        title: of the page.
        run: the run folder as the user names it; commands to copy mention it.
        objectives: at least one, in the order of the search.
        limits: absolute.
        evaluations: of the search, in commit order, failed ones too.
        space: the search space, where it is known.
        baselines: name -> evaluations of each baseline that was run, in commit order; empty when none was.
        networks: those of the final front and those dropped; empty before the search has ended.
        metrics: units and descriptions of users' metrics.
        largest: evaluation of the largest network, which relative limits refer to.
        settings: name -> value of what the user asked for (data, strategy, budget, limits as written ...).
        seeds: name -> seed.
        environment: machine and versions, plain data.
        timing: part of the work -> seconds, in the order of the work.
        training: one row an epoch, such as ``{"epoch": 1, "largest": 0.7, "smallest": 1.1}``.
        notes: for readers of the results (data splits made, a strategy restarted ...).
    """

    title: str
    run: str
    objectives: Sequence[Objective]
    evaluations: Sequence[Evaluation]
    limits: Sequence[Limit] = ()
    space: Space | None = None
    baselines: Mapping[str, Sequence[Evaluation]] = field(default_factory=dict)
    networks: Sequence[FinalNetwork] = ()
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    largest: Evaluation | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)
    training: Sequence[Mapping[str, float]] = ()
    notes: Sequence[str] = ()

    @cached_property
    def feasible(self) -> NDArray[np.bool_]:
        """Which evaluations are ok, at full fidelity, and meet all limits, ``(n,)``."""
        return np.array([e.feasible(self.limits) and not e.proposal.fidelity for e in self.evaluations], dtype=bool)

    @cached_property
    def on_front(self) -> NDArray[np.bool_]:
        """Which evaluations are on the Pareto front of the feasible ones, ``(n,)``; of equal networks the first."""
        mark = np.zeros(len(self.evaluations), dtype=bool)
        chosen = np.flatnonzero(self.feasible).tolist()
        if chosen:
            mark[chosen] = on_front([self.evaluations[i] for i in chosen], self.objectives, self.limits)
        seen: set[str] = set()
        for i in np.flatnonzero(mark).tolist():
            key = self.evaluations[i].architecture.key
            mark[i] = key not in seen
            seen.add(key)
        return mark

    @property
    def front(self) -> list[Evaluation]:
        """The Pareto front with the search's values, in ascending order of the last objective."""
        found = [e for e, on in zip(self.evaluations, self.on_front, strict=True) if on]
        return sorted(found, key=lambda e: e[self.objectives[-1].metric])

    @property
    def handed_out(self) -> list[FinalNetwork]:
        """The networks that were not dropped, in ascending order of the last objective."""
        kept = [n for n in self.networks if not n.dropped]
        return sorted(kept, key=lambda n: n.best_known[self.objectives[-1].metric])

    @property
    def failed(self) -> list[Evaluation]:
        """Evaluations without values."""
        return [e for e in self.evaluations if not e.ok]

    def metric(self, name: str) -> Metric:
        """Unit and description of a metric; ``latency_ms@NAME`` reads as ``latency_ms`` on that device."""
        stem = name.partition("@")[0]
        found = self.metrics.get(name) or self.metrics.get(stem) or KNOWN_METRICS.get(stem)
        return found or Metric(name, "", "max")
