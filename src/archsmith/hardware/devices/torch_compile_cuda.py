"""PyTorch on a CUDA graphics processor, compiled by torch.compile."""

from __future__ import annotations

from typing import Any, ClassVar, final

from archsmith.hardware import _torch
from archsmith.hardware._options import at_least_one, device_fingerprint, one_of, written
from archsmith.hardware.base import Call, Device
from archsmith.hardware.machine import package_version
from archsmith.method import OURS


@final
class TorchCompileCuda(Device):
    """PyTorch's torch.compile on a CUDA graphics processor: Inductor's Triton kernels for these shapes.

    Compiling takes seconds a network and is no part of the latency. A network of which nothing was compiled is refused.

    Inputs and outputs stay in the graphics processor's memory. CPU time says nothing here: minima of wall time count.
    ``CUDA_VISIBLE_DEVICES`` chooses among several graphics processors.

    Args:
        batch: inputs of one call.
        precision: ``"fp32"``, ``"tf32"`` (TensorFloat-32 in convolutions and matrix products), or ``"bf16"``: weights
            and inputs are converted, nothing is cast on the way.
    """

    paper = OURS
    name: ClassVar[str] = "torch_compile_cuda"
    hardware: ClassVar[str] = "cuda"
    files: ClassVar[tuple[str, ...]] = ()
    wall_only: ClassVar[bool] = True
    reference_batch: ClassVar[int] = 2048

    def __init__(self, *, batch: int = 1, precision: str = "fp32") -> None:
        self.batch = at_least_one("batch", batch)
        self.precision = one_of("precision", precision, _torch.CUDA_PRECISIONS)

    @classmethod
    def unavailable(cls) -> str:
        """Empty where torch is built with CUDA, sees a graphics processor, and has Triton."""
        lacking = "" if package_version("triton") else "torch.compile needs triton for graphics processors"
        return _torch.lacks_cuda() or lacking

    @property
    def spec(self) -> str:
        """Such as ``torch_compile_cuda:batch=64``."""
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
        """Compile a copy of ``module`` in evaluation mode.

        Raises:
            MeasurementFailed: when it cannot be copied or refuses the inputs, or nothing of it was compiled.
        """

        def make() -> Call:
            size, wrap = batch or self.batch, _torch.compiler(self)
            return _torch.prepared(self, module, example_inputs, wrap, batch=size, where="cuda")

        return _torch.in_tf32(make, tf32=self.precision == "tf32")

    def prepare_onnx(self, content: bytes, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:  # noqa: ARG002
        """Refused: torch runs modules.

        Raises:
            InvalidOption: always.
        """
        raise _torch.no_files(self.name, "the content of files")

    def prepare_file(self, path: str, example_inputs: tuple[Any, ...]) -> Call:  # noqa: ARG002
        """Refused: torch runs modules.

        Raises:
            InvalidOption: always.
        """
        raise _torch.no_files(self.name, f"files like {path}")

    def synchronize(self) -> None:
        """Wait until the graphics processor is done."""
        import torch

        torch.cuda.synchronize()
