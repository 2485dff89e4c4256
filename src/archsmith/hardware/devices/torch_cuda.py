"""PyTorch on a CUDA graphics processor, operator by operator."""

from __future__ import annotations

from typing import Any, ClassVar, final

from archsmith.hardware import _torch
from archsmith.hardware.base import Call
from archsmith.method import OURS


@final
class TorchCuda(_torch.GraphicsDevice):
    """PyTorch in eager mode on a CUDA graphics processor, in inference mode.

    Inputs and outputs stay in the graphics processor's memory. Wall-time minima are used: CPU time does not count the
    graphics processor's work.
    ``CUDA_VISIBLE_DEVICES`` chooses among several graphics processors.

    Args:
        batch: inputs of one call.
        precision: ``"fp32"``, ``"tf32"`` (TensorFloat-32 in convolutions and matrix products), or ``"bf16"``: weights
            and inputs are converted; there is no autocast.
    """

    paper = OURS
    name: ClassVar[str] = "torch_cuda"

    @classmethod
    def unavailable(cls) -> str:
        """Empty where torch is built with CUDA and sees a graphics processor."""
        return _torch.lacks_cuda()

    def prepare(self, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Copy ``module`` into evaluation mode.

        Raises:
            MeasurementFailed: when it cannot be copied, or refuses the inputs.
        """

        def make() -> Call:
            size = batch or self.batch
            return _torch.prepared(self, module, example_inputs, lambda copied: copied, batch=size, where="cuda")

        return _torch.in_tf32(make, tf32=self.precision == "tf32")
