"""The search specification: what a user asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from archsmith import loop
from archsmith import method as registry
from archsmith.candidates.precisions import Precisions
from archsmith.errors import InvalidOption, whole
from archsmith.evaluator.footprint import Footprint
from archsmith.hardware.named import TIMED_METRICS
from archsmith.metric import KNOWN_METRICS, Limit, Objective
from archsmith.orchestration.metrics import COMPUTED_METRICS
from archsmith.space import ChoiceSpace

Latencies = Literal["measured", "predicted"]
"""Whether the search measures the latency of every candidate, or predicts it from measurements of a few networks."""


@dataclass(frozen=True)
class SearchSpec:
    """The objectives, limits, strategy and budget of a search, checked."""

    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    strategy: str
    options: dict[str, Any]
    budget: loop.Budget
    baseline: tuple[str, int] | None
    seed: int
    latency: Latencies = "measured"
    precisions: Precisions | None = None

    def __post_init__(self) -> None:
        whole("seed", self.seed)
        if self.latency not in get_args(Latencies):
            raise InvalidOption(f"latency is {' or '.join(get_args(Latencies))}, got {self.latency!r}")
        for limit in self.limits:
            _check_possible(limit)
        also = [name for name in self.metrics if name.partition("@")[0] in TIMED_METRICS[1:]]
        if self.latency == "predicted" and also:
            raise InvalidOption(f"{', '.join(also)} can only be measured; leave out latency='predicted'")
        if self.precisions is not None:
            if self.latency == "predicted":
                raise InvalidOption(
                    "the latency of quantised layers can only be measured; leave out latency='predicted'"
                )
            if full := [name for name in self.metrics if name in COMPUTED_METRICS[Footprint]]:
                raise InvalidOption(f"{', '.join(full)} is computed for fp32; leave it out where layers are quantised")

    @staticmethod
    def parse_baseline(text: str | None) -> tuple[str, int] | None:
        """Read ``STRATEGY:EVALUATIONS``.

        Raises:
            InvalidOption: for anything else.
        """
        if not text:
            return None
        name, _, count = str(text).rpartition(":")
        if not name or not count.isdigit() or int(count) < 1:
            raise InvalidOption(f"cannot read the baseline {text!r}; write STRATEGY:EVALUATIONS, such as random:20")
        return name, int(count)

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics that must be measured."""
        return list(dict.fromkeys([*(o.metric for o in self.objectives), *(x.metric for x in self.limits)]))

    def check(self, space: ChoiceSpace) -> None:
        """Build the strategies once, so that a wrong name or option is refused before anything is spent."""
        bounds = [x for x in self.limits if not x.relative]  # what the others are relative to is not known yet
        for name, options in [(self.strategy, self.options), *([(self.baseline[0], {})] if self.baseline else [])]:
            method = registry.load("strategy", name)
            most = method.handles.objectives
            if most is not None and len(self.objectives) > most:
                raise InvalidOption(f"{name} handles {most} objective(s), this search has {len(self.objectives)}")
            registry.make("strategy", name, space, self.objectives, bounds, rng=np.random.default_rng(0), **options)


def _check_possible(limit: Limit) -> None:
    """Refuse bounds outside the range of a metric.

    Raises:
        InvalidOption: naming that range.
    """
    metric = KNOWN_METRICS.get(limit.metric.partition("@")[0])
    if metric is None:
        return
    if limit.sense == "<=" and limit.bound < 0:
        raise InvalidOption(f"no network can meet {limit}: {limit.metric} is never below 0; give a larger bound")
    if limit.sense == ">=" and metric.unit == "%" and limit.bound > 100:
        raise InvalidOption(f"no network can meet {limit}: {limit.metric} is a percentage, at most 100")
