"""PyTorch on a CUDA graphics processor, operator by operator."""

from __future__ import annotations

from typing import Any, ClassVar, final

from archsmith.hardware import _torch
from archsmith.hardware._options import at_least_one, device_fingerprint, one_of, written
from archsmith.hardware.base import Call, Device
from archsmith.method import OURS


@final
class TorchCuda(Device):
    """PyTorch in eager mode on a CUDA graphics processor, in inference mode.

    Inputs and outputs stay in the graphics processor's memory. CPU time says nothing here: minima of wall time count.
    ``CUDA_VISIBLE_DEVICES`` chooses among several graphics processors.

    Args:
        batch: inputs of one call.
        precision: ``"fp32"``, ``"tf32"`` (TensorFloat-32 in convolutions and matrix products), or ``"bf16"``: weights
            and inputs are converted, nothing is cast on the way.
    """

    paper = OURS
    name: ClassVar[str] = "torch_cuda"
    hardware: ClassVar[str] = "cuda"
    files: ClassVar[tuple[str, ...]] = ()
    wall_only: ClassVar[bool] = True
    reference_batch: ClassVar[int] = 2048

    def __init__(self, *, batch: int = 1, precision: str = "fp32") -> None:
        self.batch = at_least_one("batch", batch)
        self.precision = one_of("precision", precision, _torch.CUDA_PRECISIONS)

    @classmethod
    def unavailable(cls) -> str:
        """Empty where torch is built with CUDA and sees a graphics processor."""
        return _torch.lacks_cuda()

    @property
    def spec(self) -> str:
        """Such as ``torch_cuda:batch=64``."""
        return written(self.name, batch=self.batch, precision=self.precision)

    @property
    def threads(self) -> int:
        """Of the processor, which only hands work on."""
        return 1

    @property
    def fingerprint(self) -> str:
        """Of processor, graphics processor, torch's version and options."""
        return device_fingerprint(self.spec, self.precision, "torch", _torch.graphics_processor())

    def prepare(self, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Copy ``module`` into evaluation mode.

        Raises:
            MeasurementFailed: when it cannot be copied, or refuses the inputs.
        """

        def make() -> Call:
            size = batch or self.batch
            return _torch.prepared(self, module, example_inputs, lambda copied: copied, batch=size, where="cuda")

        return _torch.in_tf32(make, tf32=self.precision == "tf32")

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
        """Wait until the graphics processor is done."""
        import torch

        torch.cuda.synchronize()
