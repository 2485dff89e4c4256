"""PyTorch on the processor, compiled by torch.compile."""

from __future__ import annotations

import os
import shutil
from typing import Any, ClassVar, final

from archsmith.hardware import _torch
from archsmith.hardware.base import Call
from archsmith.method import OURS


@final
class TorchCompile(_torch.ProcessorDevice):
    """PyTorch's torch.compile on the processor: Inductor's C++ code for these shapes, in inference mode.

    Compiling takes seconds a network, and the first one on a machine up to a minute; it is not part of the latency.
    A network of which nothing was compiled is refused. Networks are compiled for fixed shapes. torch's number of
    threads is global to the process: it is set for each call and restored after it.

    Args:
        threads: of one operator.
        batch: inputs of one call.
        precision: ``"fp32"``, or ``"bf16"``: weights and inputs are converted; there is no autocast.
    """

    paper = OURS
    name: ClassVar[str] = "torch_compile"

    @classmethod
    def unavailable(cls) -> str:
        """Empty where torch is installed and finds a C++ compiler."""
        return _torch.lacks_torch() or lacks_compiler()

    def prepare(self, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Compile a copy of ``module`` in evaluation mode.

        Raises:
            MeasurementFailed: when it cannot be copied or refuses the inputs, or nothing of it was compiled.
        """

        def make() -> Call:
            size, wrap = batch or self.batch, _torch.compiler(self)
            return _torch.prepared(self, module, example_inputs, wrap, batch=size, where="cpu")

        return _torch.on_threads(make, self.threads)


def lacks_compiler() -> str:
    """Why Inductor cannot compile for the processor here; empty where it can."""
    wanted = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    if any(shutil.which(name) for name in wanted):
        return ""
    return f"torch.compile needs a C++ compiler ({' or '.join(wanted)}): on Debian and Ubuntu, apt install g++"
