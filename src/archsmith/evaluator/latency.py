"""Latency of a subnet, measured in the runtime it will be deployed with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, final

from archsmith.architecture import Proposal
from archsmith.candidates.files import Candidates, Files
from archsmith.errors import EvaluationFailed
from archsmith.evaluator.base import Evaluator
from archsmith.fingerprint import fingerprint_of
from archsmith.hardware import Measurement
from archsmith.hardware.block_table import Measures
from archsmith.hardware.energy import counter_of, energy_mj, watts
from archsmith.method import OURS
from archsmith.metric import KNOWN_METRICS, Metric, on_device
from archsmith.supernet.supernet import Supernet
from archsmith.value import Value


@final
class Latency(Evaluator):
    """Time of one call of the extracted subnet on a device, with its 95 % interval; also throughput and energy.

    ``throughput`` is the batch over the latency. ``energy_mj`` is read from the hardware's counter while the network
    keeps running, or modelled from the latency: see :mod:`archsmith.hardware.energy`.

    Args:
        supernet: from which subnets are extracted; latency depends on shapes, not on weights.
        meter: an open meter, or one that opens on first use.
        metric: ``latency_ms``, or ``latency_ms@NAME`` where several devices are measured.
        effort: ``"search"`` is quick, ``"final"`` is for networks on the final front.
        candidates: prepares subnets for the device of the meter; several evaluators may share it.
        also: of ``"throughput"`` and ``"energy_mj"``; their names end as that of the metric does.
        on_measured: called with every measurement, with raw samples and circumstances.
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
        also: Sequence[str] = (),
        candidates: Files | None = None,
        on_measured: Callable[[Proposal, Measurement], None] = lambda *_: None,
    ) -> None:
        self._supernet, self._meter, self._effort = supernet, meter, effort
        self._metric = replace(KNOWN_METRICS["latency_ms"], name=metric)
        self._candidates: Files = candidates or Candidates(supernet, meter.device)
        device = metric.partition("@")[2]
        self._also = {stem: replace(KNOWN_METRICS[stem], name=on_device(stem, device)) for stem in also}
        self._counter = counter_of(meter.device) if "energy_mj" in self._also else None
        self._on_measured = on_measured
        self.last: Measurement | None = None

    @property
    def metrics(self) -> Sequence[Metric]:
        return (self._metric, *self._also.values())

    @property
    def fingerprint(self) -> str:
        shapes = repr([tuple(x.shape) for x in _leaves(self._supernet.example_inputs) if hasattr(x, "shape")])
        also = [(stem, *self._energy_source()) if stem == "energy_mj" else (stem,) for stem in self._also]
        found = ("latency", self._metric.name, self._effort, self._meter.fingerprint, shapes)
        files = self._candidates.fingerprint
        return fingerprint_of(*found, *([repr(also)] if also else []), *([files] if files else []))

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        del seed  # the protocol's randomness is the machine's
        device, call = self._meter.device, self._candidates.call(proposal.architecture)
        self.last = found = self._meter.measure(call, effort=self._effort)
        self._on_measured(proposal, found)
        values = {self._metric.name: found.value()}
        for stem, metric in self._also.items():
            if stem == "energy_mj":
                values[metric.name] = energy_mj(device, call, found.value(), self._counter)
            else:
                values[metric.name] = per_second(device.batch, found.value())
        return values

    def _energy_source(self) -> tuple[str, ...]:
        """Everything in which energies must agree to be comparable."""
        if self._counter is None:
            return "modelled", repr(watts(self._meter.device))
        return "measured", type(self._counter).__name__


def per_second(batch: int, latency: Value) -> Value:
    """Inputs per second of calls that take so many milliseconds each.

    Raises:
        EvaluationFailed: for an interval that includes 0.
    """
    if latency.low <= 0:
        raise EvaluationFailed(f"the latency may be as low as {latency.low} ms, from which no throughput follows")
    value, low, high = (1e3 * batch / ms for ms in (latency.value, latency.high, latency.low))
    return Value(value, latency.source, low, high)


def _leaves(thing: Any) -> list[Any]:
    return [x for item in thing for x in _leaves(item)] if isinstance(thing, tuple | list) else [thing]
