"""PyTorch on the processor, operator by operator."""

from __future__ import annotations

from typing import Any, ClassVar, final

from archsmith.hardware import _torch
from archsmith.hardware.base import Call
from archsmith.method import OURS


@final
class TorchCpu(_torch.ProcessorDevice):
    """PyTorch in eager mode on the processor, in inference mode.

    torch's number of threads is global to the process: it is set for each call and restored after it.

    Args:
        threads: of one operator.
        batch: inputs of one call.
        precision: ``"fp32"``, or ``"bf16"``: weights and inputs are converted; there is no autocast.
    """

    paper = OURS
    name: ClassVar[str] = "torch_cpu"

    @classmethod
    def unavailable(cls) -> str:
        """Empty where torch is installed."""
        return _torch.lacks_torch()

    def prepare(self, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Copy ``module`` into evaluation mode.

        Raises:
            MeasurementFailed: when it cannot be copied, or refuses the inputs.
        """

        def make() -> Call:
            size = batch or self.batch
            return _torch.prepared(self, module, example_inputs, lambda copied: copied, batch=size, where="cpu")

        return _torch.on_threads(make, self.threads)
