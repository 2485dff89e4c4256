"""Latency of a subnet, measured in the runtime it will be deployed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, final

from archsmith.architecture import Proposal
from archsmith.evaluation import Value
from archsmith.evaluator._fingerprint import fingerprint_of
from archsmith.evaluator.base import Evaluator
from archsmith.export._positional import positional
from archsmith.hardware import Call, Device, Measurement
from archsmith.method import OURS
from archsmith.metric import KNOWN, Metric
from archsmith.supernet.supernet import Supernet


class Measures(Protocol):
    """What :class:`Latency` needs of a meter."""

    @property
    def device(self) -> Device:
        """That networks are prepared for."""

    @property
    def fingerprint(self) -> str:
        """Equal means comparable latencies."""

    def measure(self, call: Call, effort: str = "search") -> Measurement:
        """The latency of a prepared call."""


@final
class Latency(Evaluator):
    """Time of one call of the extracted subnet on a device, with its 95 % interval.

    Args:
        supernet: from which subnets are extracted; latency depends on shapes, not on weights.
        meter: an open meter, or one that opens itself when it is first used.
        metric: ``latency_ms``, or ``latency_ms@NAME`` where several devices are measured.
        effort: ``"search"`` is quick, ``"final"`` is for networks that will be claimed.
    """

    paper = OURS
    depends_on = "architecture"

    def __init__(
        self,
        supernet: Supernet,
        meter: Measures,
        *,
        metric: str = "latency_ms",
        effort: Literal["search", "final"] = "search",
    ) -> None:
        self._supernet, self._meter, self._effort = supernet, meter, effort
        self._metric = replace(KNOWN["latency_ms"], name=metric)
        self.last: Measurement | None = None

    @property
    def metrics(self) -> Sequence[Metric]:
        return (self._metric,)

    @property
    def fingerprint(self) -> str:
        shapes = repr([tuple(x.shape) for x in _leaves(self._supernet.example_inputs) if hasattr(x, "shape")])
        return fingerprint_of("latency", self._metric.name, self._effort, self._meter.fingerprint, shapes)

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        del seed  # the protocol's randomness is the machine's
        module = positional(self._supernet.extract(proposal.architecture), self._supernet.input_names)
        device = self._meter.device
        self.last = found = self._meter.measure(
            device.prepare(module, self._supernet.inputs_of(proposal.architecture)), effort=self._effort
        )
        return {self._metric.name: Value(found.latency_ms, "measured", low=found.low, high=found.high)}


def _leaves(thing: Any) -> list[Any]:
    return [x for item in thing for x in _leaves(item)] if isinstance(thing, tuple | list) else [thing]
