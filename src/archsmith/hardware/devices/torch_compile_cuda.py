"""PyTorch on a CUDA graphics processor, compiled by torch.compile."""

from __future__ import annotations

from typing import Any, ClassVar, final

from archsmith.hardware import _torch
from archsmith.hardware.base import Call
from archsmith.hardware.machine import package_version
from archsmith.method import OURS


@final
class TorchCompileCuda(_torch.GraphicsDevice):
    """PyTorch's torch.compile on a CUDA graphics processor: Inductor's Triton kernels for these shapes.

    Compiling takes seconds a network and is not part of the latency. A network of which nothing was compiled is
    refused.

    Inputs and outputs stay in the graphics processor's memory. Wall-time minima are used: CPU time does not count the
    graphics processor's work.
    ``CUDA_VISIBLE_DEVICES`` chooses among several graphics processors.

    Args:
        batch: inputs of one call.
        precision: ``"fp32"``, ``"tf32"`` (TensorFloat-32 in convolutions and matrix products), or ``"bf16"``: weights
            and inputs are converted; there is no autocast.
    """

    paper = OURS
    name: ClassVar[str] = "torch_compile_cuda"

    @classmethod
    def unavailable(cls) -> str:
        """Empty where torch is built with CUDA, sees a graphics processor, and has Triton."""
        lacking = "" if package_version("triton") else "torch.compile needs triton for graphics processors"
        return _torch.lacks_cuda() or lacking

    def prepare(self, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Compile a copy of ``module`` in evaluation mode.

        Raises:
            MeasurementFailed: when it cannot be copied or refuses the inputs, or nothing of it was compiled.
        """

        def make() -> Call:
            size, wrap = batch or self.batch, _torch.compiler(self)
            return _torch.prepared(self, module, example_inputs, wrap, batch=size, where="cuda")

        return _torch.in_tf32(make, tf32=self.precision == "tf32")
