"""How candidates get onto a device: as files cut out of the largest network's, or exported one by one."""

from __future__ import annotations

from collections.abc import Callable

from archsmith.architecture import Architecture
from archsmith.errors import MeasurementFailed
from archsmith.export._inputs import resized
from archsmith.export._positional import positional
from archsmith.export._sliced import NotSliceable, SlicedExport
from archsmith.hardware import Call, Device
from archsmith.supernet.supernet import Supernet


class Candidates:
    """Prepares subnets of one supernet for one device.

    On a device that runs ONNX files the first candidate takes some exports, after which a file takes milliseconds.
    Where that cannot be done, networks are exported one by one, and ``told`` hears why, once.

    Args:
        supernet: from which subnets come.
        device: that they are prepared for.
        busy: hears what takes a while.
        told: hears why networks are exported one by one.

    Attributes:
        reason: the same; empty while files are cut out.
    """

    def __init__(
        self,
        supernet: Supernet,
        device: Device,
        *,
        busy: Callable[[str], None] = lambda _: None,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.supernet, self.device, self.reason = supernet, device, ""
        self._busy, self._told = busy, told
        self._sliced: dict[str, SlicedExport] = {}

    def call(self, arch: Architecture) -> Call:
        """One forward pass of ``arch``, ready to be timed.

        Raises:
            MeasurementFailed: when the runtime refuses the network.
        """
        if ".onnx" in self.device.files and not self.reason:
            try:
                return self.device.prepare_onnx(self._file(arch), self.supernet.inputs_of(arch))
            except (NotSliceable, MeasurementFailed) as error:
                self.reason = str(error)
                self._told(f"every network is exported by itself, which takes longer than cutting files: {error}")
        module = positional(self.supernet.extract(arch), self.supernet.input_names)
        return self.device.prepare(module, self.supernet.inputs_of(arch))

    def _file(self, arch: Architecture) -> bytes:
        inputs = resized(self.supernet.inputs_of(arch), self.device.batch)
        shapes = repr([getattr(x, "shape", x) for x in inputs])  # where the size of images is a choice, one each
        if shapes not in self._sliced:
            self._sliced[shapes] = SlicedExport(self.supernet, inputs, self.supernet.input_names, told=self._busy)
        return self._sliced[shapes](arch)
