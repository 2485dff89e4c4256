"""How candidates get onto a device: as files cut out of the largest network's, or exported one by one."""

from __future__ import annotations

from collections.abc import Callable

from archsmith.architecture import Architecture
from archsmith.errors import MeasurementFailed, MissingExtra, StorageFull
from archsmith.export._inputs import resized
from archsmith.export._positional import positional
from archsmith.export._sliced import Doubtful, NotSliceable, SlicedExport
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
        self._sliced: SlicedExport | None = None

    def call(self, arch: Architecture) -> Call:
        """One forward pass of ``arch``, ready to be timed.

        Raises:
            MeasurementFailed: when the runtime refuses the network.
        """
        if ".onnx" in self.device.files and not self.reason:
            try:
                return self.device.prepare_onnx(self._file(arch), self.supernet.example_inputs)
            except Doubtful:
                pass  # this one alone is exported
            except (MissingExtra, StorageFull):
                raise
            except Exception as error:  # noqa: BLE001 - whatever goes wrong with a model, it can still be exported
                known = isinstance(error, NotSliceable | MeasurementFailed)
                self.reason = str(error) if known else f"{type(error).__name__}: {error}"
                self._told(f"every network is exported by itself, which takes longer than cutting files: {self.reason}")
        module = positional(self.supernet.extract(arch), self.supernet.input_names)
        return self.device.prepare(module, self.supernet.example_inputs)

    def _file(self, arch: Architecture) -> bytes:
        if self._sliced is None:
            inputs = resized(self.supernet.example_inputs, self.device.batch)
            self._sliced = SlicedExport(self.supernet, inputs, self.supernet.input_names, told=self._busy)
        return self._sliced(arch)
