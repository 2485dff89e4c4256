"""Peak memory of a subnet in the runtime it will be deployed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

from archsmith.architecture import Proposal
from archsmith.candidates.files import Files
from archsmith.candidates.fingerprints import input_shapes
from archsmith.errors import EvaluationFailed, InvalidOption
from archsmith.evaluator.base import Evaluator
from archsmith.export.onnx_tools.by_position import positional
from archsmith.export.onnx_tools.fast_exporter import candidate_onnx
from archsmith.export.onnx_tools.inputs import resized
from archsmith.fingerprint import fingerprint_of
from archsmith.hardware import Device
from archsmith.hardware.memory import peak_memory_mib
from archsmith.method import OURS
from archsmith.metric import KNOWN_METRICS, Metric, on_device
from archsmith.supernet.supernet import Supernet
from archsmith.value import Value


@final
class PeakMemory(Evaluator):
    """``peak_memory_mib``: the most memory that loading and running the subnet's file takes, in a process of its own.

    The runtime's own memory is not counted. It takes about a second a network.

    Args:
        supernet: from which subnets are extracted.
        device: that runs ONNX files, here or on another machine.
        name: of the device where there are several; the metric is then ``peak_memory_mib@NAME``.
        files: of candidates for the device, where a search makes them; each network is exported otherwise.

    Raises:
        InvalidOption: for a device that runs modules only.
    """

    paper = OURS
    depends_on = "architecture"

    def __init__(self, supernet: Supernet, device: Device, *, name: str = "", files: Files | None = None) -> None:
        if ".onnx" not in device.files:
            raise InvalidOption(
                f"peak_memory_mib is measured on devices that run ONNX files, not on {device.spec}; live_memory_mib is "
                "computed for any"
            )
        self._supernet, self._device, self._files = supernet, device, files
        self._metric = replace(KNOWN_METRICS["peak_memory_mib"], name=on_device("peak_memory_mib", name))

    @property
    def metrics(self) -> Sequence[Metric]:
        return (self._metric,)

    @property
    def fingerprint(self) -> str:
        also = (self._files.fingerprint,) if self._files is not None and self._files.fingerprint else ()
        shapes = input_shapes(self._supernet)
        return fingerprint_of("peak_memory", self._metric.name, self._device.fingerprint, shapes, *also)

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        del seed  # the system's memory is what it is
        if self._files is not None:
            content = self._files.content(proposal.architecture)
            inputs = self._files.inputs_of(proposal.architecture)
            return {self._metric.name: Value(peak_memory_mib(self._device, content, inputs), "measured")}
        module = positional(self._supernet.extract(proposal.architecture), self._supernet.input_names)
        inputs = resized(self._supernet.inputs_of(proposal.architecture), self._device.batch)
        try:
            content = candidate_onnx(module, inputs)
        except Exception as error:  # exporters raise many kinds
            raise EvaluationFailed(f"the network cannot be exported: {str(error).splitlines()[0][:300]}") from error
        return {self._metric.name: Value(peak_memory_mib(self._device, content, inputs), "measured")}
