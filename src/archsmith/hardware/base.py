"""The contract of a device: hardware, runtime, precision, threads and batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from archsmith.errors import InvalidOption
from archsmith.hardware.machine import environment, int8_weight_bits
from archsmith.hardware.profiling import Profile
from archsmith.method import Method
from archsmith.progress import Reporter

Call = Callable[[], object]
"""One forward pass on inputs that are on the device already."""


class Elsewhere(Protocol):
    """Measures on another machine: the whole protocol runs there."""

    def anchor(self, anchor_ms: float | None, reporter: Reporter) -> float:
        """Milliseconds of the reference on that machine when it is quiet: the given ones, or its own."""

    def measure(self, call: Any, effort: str, anchor_ms: float) -> Mapping[str, Any]:
        """A measurement of a call that the device prepared, as plain data."""

    def peak_memory_mib(self, content: bytes, example_inputs: tuple[Any, ...]) -> float:
        """MiB that loading and running a network takes there: see :mod:`archsmith.hardware.memory`."""


class Device(Method):
    """Runs networks and nothing else; :mod:`archsmith.hardware.protocol` measures the time.

    Every device is built from keyword options only (``threads``, ``batch``, ...), each with a default.

    Attributes:
        name: the name of its file.
        hardware: the hardware that it occupies (``"cpu"``); all processes take turns in measuring on it.
        files: suffixes of the files that it runs; empty where it runs modules only.
        batch: inputs of one call.
        precision: what it computes in, ``"fp32"`` unless the spec names another; always set explicitly in the runtime.
        wall_only: whether CPU time does not count a call's work, because another processor does it.
        reference_batch: inputs of one call of the reference network, chosen so that it takes about a millisecond.
        layer_precisions: precisions beside fp32 that single layers of a file can be quantised to.
    """

    name: ClassVar[str]
    hardware: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    batch: int
    precision: str
    wall_only: ClassVar[bool] = False
    reference_batch: ClassVar[int] = 16
    layer_precisions: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def unavailable(cls) -> str:
        """Why it does not work here, and what to do; empty where it works."""

    @property
    @abstractmethod
    def spec(self) -> str:
        """Such as ``onnxruntime:threads=1,batch=64``: the options in canonical order."""

    @property
    @abstractmethod
    def threads(self) -> int:
        """Threads of one call; with one, CPU time is used, with several, wall-time minima."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of hardware, runtime version, precision, threads and batch."""

    @abstractmethod
    def prepare(self, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Make ``module`` (a plain ``torch.nn.Module``) ready to be timed, in evaluation mode.

        Args:
            module: not changed.
            example_inputs: tensors for one call; the first dimension is resized to the batch.
            batch: instead of the device's own.

        Raises:
            MeasurementFailed: when the runtime refuses the network.
        """

    @abstractmethod
    def prepare_onnx(self, content: bytes, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Make the content of an ``.onnx`` file ready to be timed; nothing is written.

        Args:
            content: of the file.
            example_inputs: tensors or arrays for one call; the first dimension is resized to the batch.
            batch: instead of the device's own.

        Raises:
            InvalidOption: when the device runs modules only, or the content was made for another batch.
            MeasurementFailed: when the runtime refuses it.
        """

    @abstractmethod
    def prepare_file(self, path: str, example_inputs: tuple[Any, ...]) -> Call:
        """Make an exported file ready to be timed.

        Raises:
            InvalidOption: when the runtime cannot read such files, or the file was made for another batch.
            DamagedFile: when the file cannot be loaded.
        """

    def profile_file(self, path: str, example_inputs: tuple[Any, ...], *, calls: int) -> Profile:  # noqa: ARG002
        """The time of each operator of an exported file, for runtimes with a profiler.

        Args:
            path: of the file.
            example_inputs: as in :meth:`prepare`.
            calls: of the network, after one that is not counted.

        Raises:
            InvalidOption: when this runtime does not report times of operators, or the file does not fit it.
            DamagedFile: when the file cannot be loaded.
        """
        raise InvalidOption(f"{self.name} does not report times of single operators; onnxruntime and openvino do")

    @property
    def weight_bits(self) -> int:
        """Of int8 layers: 8, or 7 where sums of 8-bit products would saturate."""
        return int8_weight_bits()

    @abstractmethod
    def synchronize(self) -> None:
        """Return when everything queued on the device is done."""

    def environment(self) -> dict[str, Any]:
        """The machine that it measures on, as plain data: processor, system, versions."""
        return environment()

    def measured_elsewhere(self) -> Elsewhere | None:
        """What measures instead of this process; ``None`` for devices of this machine."""
        return None
