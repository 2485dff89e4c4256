"""Metrics (what is measured), objectives (what is optimised) and limits (what must hold)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from archsmith.errors import InvalidOption, unknown
from archsmith.value import Value

Goal = Literal["max", "min"]


class Valued(Protocol):
    """What has values by metric, such as an :class:`archsmith.evaluation.Evaluation`."""

    @property
    def values(self) -> Mapping[str, Value]:
        """Metric name -> value."""


@dataclass(frozen=True)
class Metric:
    """A named, measured quantity.

    Args:
        name: with its unit where it has one (``latency_ms``); ``latency_ms@NAME`` on one of several devices.
        unit: ``"ms"``, ``"%"``, ``"1"`` for counts.
        goal: the direction that is usually wanted.
        description: one line for tables and axes.
    """

    name: str
    unit: str
    goal: Goal
    description: str = ""


KNOWN_METRICS: Mapping[str, Metric] = {
    m.name: m
    for m in (
        Metric("accuracy_top1", "%", "max", "share of the validation split that is classified correctly"),
        Metric("test_accuracy_top1", "%", "max", "share of the test split, which the search never sees"),
        Metric("latency_ms", "ms", "min", "time of one call on the device, measured against a reference"),
        Metric("params", "1", "min", "learned numbers in the network"),
        Metric("macs", "1", "min", "multiply-adds of one input"),
        Metric("throughput", "1/s", "max", "inputs per second, one call after the other"),
        Metric("peak_memory_mib", "MiB", "min", "peak resident memory of one call"),
        Metric("live_memory_mib", "MiB", "min", "weights and the largest sum of activations alive at one time"),
        Metric("size_mib", "MiB", "min", "size of the ONNX file"),
        Metric("kv_cache_mib", "MiB", "min", "keys and values cached for one sequence"),
        Metric(
            "arithmetic_intensity", "MAC/byte", "max", "multiply-adds for each byte moved, weighted by what it holds"
        ),
        Metric("energy_mj", "mJ", "min", "energy of one call"),
    )
}
"""archsmith's own metrics by name; users' evaluators add theirs."""


def on_device(stem: str, device: str) -> str:
    """The metric ``stem`` on a named device; ``stem`` itself where there is one device without a name.

    >>> on_device("latency_ms", "pi"), on_device("latency_ms", "")
    ('latency_ms@pi', 'latency_ms')
    """
    return f"{stem}@{device}" if device else stem


@dataclass(frozen=True)
class Objective:
    """A metric and the direction in which it is optimised."""

    metric: str
    goal: Goal

    def cost(self, value: float) -> float:
        """``value`` turned so that smaller is better; the one place where a sign is flipped."""
        return value if self.goal == "min" else -value

    def __str__(self) -> str:
        return f"{self.goal} {self.metric}"

    @classmethod
    def parse(cls, text: str) -> Objective:
        """The inverse of ``str``.

        >>> Objective.parse("min latency_ms")
        Objective(metric='latency_ms', goal='min')
        """
        goal, _, metric = text.partition(" ") if isinstance(text, str) else ("", "", "")
        if goal not in ("max", "min") or not metric:
            raise InvalidOption(f"cannot read the objective {text!r}; write 'max METRIC' or 'min METRIC'")
        return cls(metric, goal)  # type: ignore[arg-type]


NAME = r"[\w.@:/,=-]*[\w]"
"""Pattern of a metric's name in a limit."""
_LIMIT = re.compile(rf"^\s*({NAME})\s*(<=|>=|<|>|==?)\s*([-+.\deE]+)\s*(%?)\s*$")


@dataclass(frozen=True)
class Limit:
    """A bound on a metric, independent of the objectives.

    ``relative`` bounds are a percentage of the largest network's value and are made absolute
    (:meth:`resolve`) before a search starts.

    >>> Limit.parse("latency_ms<=3")
    Limit(metric='latency_ms', sense='<=', bound=3.0, relative=False)
    >>> str(Limit.parse("latency_ms <= 60%"))
    'latency_ms<=60%'
    """

    metric: str
    sense: Literal["<=", ">="]
    bound: float
    relative: bool = False

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read ``METRIC<=NUMBER``, ``METRIC>=NUMBER``, or either with ``%`` of the largest network's value.

        Raises:
            InvalidOption: for anything else.
        """
        match = _LIMIT.match(text) if isinstance(text, str) else None
        try:
            if match is None or match[2] not in ("<=", ">="):
                raise ValueError
            bound = float(match[3])
            if not math.isfinite(bound):
                raise ValueError
        except ValueError:
            raise InvalidOption(
                f"cannot read the limit {text!r}; write METRIC<=NUMBER or METRIC>=NUMBER, such as 'latency_ms<=3' "
                "or 'latency_ms<=60%' (of the largest network)"
            ) from None
        return cls(match[1], match[2], bound, match[4] == "%")  # type: ignore[arg-type]

    def resolve(self, largest: Mapping[str, float]) -> Limit:
        """The absolute limit, given the largest network's values; itself where it is absolute already."""
        return Limit(self.metric, self.sense, largest[self.metric] * self.bound / 100) if self.relative else self

    def violation(self, evaluation: Valued) -> float:
        """How far the bound is exceeded, as a share of it; 0 where it holds.

        The pessimistic end of the value's interval counts: the upper for ``<=``, the lower for ``>=``.
        Infinite where the evaluation lacks the metric.
        """
        value = evaluation.values.get(self.metric)
        if value is None:
            return math.inf
        excess = value.high - self.bound if self.sense == "<=" else self.bound - value.low
        return max(0.0, excess) / (abs(self.bound) or 1.0)

    def __str__(self) -> str:
        return f"{self.metric}{self.sense}{self.bound:g}{'%' if self.relative else ''}"

    def to_json(self) -> dict[str, Any]:
        """Plain data, for headers and reports."""
        return {"metric": self.metric, "sense": self.sense, "bound": self.bound, "relative": self.relative}


def objectives(*, maximize: str | Sequence[str] = (), minimize: str | Sequence[str] = ()) -> tuple[Objective, ...]:
    """The ordered objectives of a search: first what is maximised, then what is minimised.

    Raises:
        InvalidOption: without any objective, for a metric given twice, or for what is no name.
    """
    found = [Objective(m, "max") for m in _listed("maximize", maximize)]
    found += [Objective(m, "min") for m in _listed("minimize", minimize)]
    if not found:
        raise InvalidOption("a search needs an objective: give maximize=... or minimize=...")
    check_distinct(found)
    return tuple(found)


def check_distinct(objectives: Sequence[Objective]) -> None:
    """Refuse a metric that is given as two objectives.

    Raises:
        InvalidOption: naming all of them.
    """
    names = [o.metric for o in objectives]
    if len(set(names)) < len(names):
        raise InvalidOption(f"a metric can be one objective only, got {names}")


def limits(given: str | Limit | Iterable[str | Limit]) -> tuple[Limit, ...]:
    """The ordered limits of a search, from text or values."""
    items: Iterable[Any] = [given] if isinstance(given, str | Limit) or not isinstance(given, Iterable) else given
    return tuple(item if isinstance(item, Limit) else Limit.parse(item) for item in items)


def check_known(wanted: Iterable[str], available: Iterable[str]) -> None:
    """Refuse metrics that nothing measures.

    Raises:
        UnknownName: with the nearest available name.
    """
    available = list(available)
    for name in wanted:
        if name not in available:
            raise unknown("metric", name, available)


def _listed(option: str, names: Any) -> list[str]:
    listed = [names] if isinstance(names, str) or not isinstance(names, Iterable) else list(names)
    if not all(isinstance(name, str) for name in listed):
        raise InvalidOption(f"{option}={names!r} must be the name of a metric or a list of them, such as 'latency_ms'")
    return listed
