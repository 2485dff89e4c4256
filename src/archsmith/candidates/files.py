"""The files of candidates for a device: cut out of the largest network's file, or exported one by one."""

from __future__ import annotations

from typing import Any, Protocol

from archsmith.architecture import Architecture
from archsmith.errors import EvaluationFailed, MeasurementFailed, MissingExtra, StorageFull
from archsmith.export.onnx_tools.by_position import positional
from archsmith.export.onnx_tools.fast_exporter import candidate_onnx
from archsmith.export.onnx_tools.inputs import resized
from archsmith.export.slicing.sliced_export import Doubtful, NotSliceable, SlicedExport
from archsmith.hardware import Call, Device
from archsmith.progress import SILENT, Reporter
from archsmith.supernet.supernet import Supernet


class Files(Protocol):
    """Makes the files of candidates for one device."""

    @property
    def fingerprint(self) -> str:
        """Of everything beside the architecture that changes the files; empty where nothing does."""

    def content(self, arch: Architecture) -> bytes:
        """The file of ``arch``, for calls of the device's batch."""

    def call(self, arch: Architecture) -> Call:
        """One forward pass of ``arch``, ready to be timed."""

    def inputs_of(self, arch: Architecture) -> tuple[Any, ...]:
        """Example inputs of one call of ``arch``, by position."""


class Candidates:
    """Prepares subnets of one supernet for one device.

    On a device that runs ONNX files the first candidate needs several exports; after that a file takes milliseconds.
    Where files cannot be cut out, networks are exported one by one, and one note says why.

    Args:
        supernet: from which subnets come.
        device: the device that runs them.
        reporter: gets the progress of slow steps, and a note why networks are exported one by one.
        learnt: how files are cut out, by the shapes of the inputs; devices with the same batch may share it.

    Attributes:
        reason: why networks are exported one by one; empty while files are cut out.
        fingerprint: empty: these are the files of the architectures.
    """

    fingerprint = ""

    def __init__(
        self,
        supernet: Supernet,
        device: Device,
        *,
        reporter: Reporter = SILENT,
        learnt: dict[str, SlicedExport] | None = None,
    ) -> None:
        self.supernet, self.device, self.reason = supernet, device, ""
        self._reporter = reporter
        self._sliced = {} if learnt is None else learnt

    def call(self, arch: Architecture) -> Call:
        """One forward pass of ``arch``, ready to be timed.

        Raises:
            MeasurementFailed: when the runtime refuses the network.
        """
        content = self._cut(arch)
        if content is not None:
            try:
                return self.device.prepare_onnx(content, self.supernet.inputs_of(arch))
            except MeasurementFailed as error:
                self._give_up(str(error))
        module = positional(self.supernet.extract(arch), self.supernet.input_names)
        return self.device.prepare(module, self.supernet.inputs_of(arch))

    def inputs_of(self, arch: Architecture) -> tuple[Any, ...]:
        """Example inputs of one call of ``arch``, by position."""
        return self.supernet.inputs_of(arch)

    def content(self, arch: Architecture) -> bytes:
        """The file of ``arch``, for calls of the device's batch.

        Raises:
            EvaluationFailed: when the network cannot be exported.
        """
        content = self._cut(arch)
        if content is not None:
            return content
        module = positional(self.supernet.extract(arch), self.supernet.input_names)
        try:
            return candidate_onnx(module, resized(self.supernet.inputs_of(arch), self.device.batch))
        except (MissingExtra, StorageFull):
            raise
        except Exception as error:  # exporters raise many kinds
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise EvaluationFailed(f"the network cannot be exported: {lines[0][:300]}") from error

    def _cut(self, arch: Architecture) -> bytes | None:
        """The file of ``arch``, cut out; ``None`` where it must be exported."""
        if ".onnx" not in self.device.files or self.reason:
            return None
        try:
            return self._file(arch)
        except Doubtful:
            return None  # this one alone
        except (MissingExtra, StorageFull):
            raise
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with a model, it can still be exported
            known = isinstance(error, NotSliceable | MeasurementFailed)
            self._give_up(str(error) if known else f"{type(error).__name__}: {error}")
            return None

    def _give_up(self, reason: str) -> None:
        self.reason = reason
        self._reporter.note(f"every network is exported by itself, which takes longer than cutting files: {reason}")

    def _file(self, arch: Architecture) -> bytes:
        inputs = resized(self.supernet.inputs_of(arch), self.device.batch)
        shapes = repr([getattr(x, "shape", x) for x in inputs])  # one for each size of images
        if shapes not in self._sliced:
            self._sliced[shapes] = SlicedExport(
                self.supernet, inputs, self.supernet.input_names, reporter=self._reporter
            )
        return self._sliced[shapes](arch)
