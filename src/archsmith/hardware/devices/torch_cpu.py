"""PyTorch on the processor, operator by operator."""

from __future__ import annotations

from typing import Any, ClassVar, final

from archsmith.hardware import _torch
from archsmith.hardware._options import at_least_one, device_fingerprint, one_of, thread_count, written
from archsmith.hardware.base import Call, Device
from archsmith.method import OURS


@final
class TorchCpu(Device):
    """PyTorch in eager mode on the processor, in inference mode.

    torch's number of threads belongs to the process: it is set for the length of a call and put back.

    Args:
        threads: of one operator.
        batch: inputs of one call.
        precision: ``"fp32"``, or ``"bf16"``: weights and inputs are converted, nothing is cast on the way.
    """

    paper = OURS
    name: ClassVar[str] = "torch_cpu"
    hardware: ClassVar[str] = "cpu"
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, threads: int = 1, batch: int = 1, precision: str = "fp32") -> None:
        self._threads = thread_count(threads)
        self.batch = at_least_one("batch", batch)
        self.precision = one_of("precision", precision, _torch.CPU_PRECISIONS)

    @classmethod
    def unavailable(cls) -> str:
        """Empty where torch is installed."""
        return _torch.lacks_torch()

    @property
    def spec(self) -> str:
        """Such as ``torch_cpu:threads=1,batch=64``."""
        return written(self.name, threads=self.threads, batch=self.batch, precision=self.precision)

    @property
    def threads(self) -> int:
        """Threads of one operator."""
        return self._threads

    @property
    def fingerprint(self) -> str:
        """Of processor, torch's version and options."""
        return device_fingerprint(self.spec, self.precision, "torch")

    def prepare(self, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Copy ``module`` into evaluation mode.

        Raises:
            MeasurementFailed: when it cannot be copied, or refuses the inputs.
        """

        def make() -> Call:
            size = batch or self.batch
            return _torch.prepared(self, module, example_inputs, lambda copied: copied, batch=size, where="cpu")

        return _torch.on_threads(make, self.threads)

    def prepare_onnx(self, content: bytes, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:  # noqa: ARG002
        """Refused: eager torch runs modules.

        Raises:
            InvalidOption: always.
        """
        raise _torch.no_files(self.name, "the content of files")

    def prepare_file(self, path: str, example_inputs: tuple[Any, ...]) -> Call:  # noqa: ARG002
        """Refused: eager torch runs modules.

        Raises:
            InvalidOption: always.
        """
        raise _torch.no_files(self.name, f"files like {path}")

    def synchronize(self) -> None:
        """Nothing is queued: a call returns when it is done."""
