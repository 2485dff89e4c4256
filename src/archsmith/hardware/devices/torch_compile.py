"""PyTorch on the processor, compiled by torch.compile."""

from __future__ import annotations

import os
import shutil
from typing import Any, ClassVar, final

from archsmith.hardware import _torch
from archsmith.hardware._options import at_least_one, device_fingerprint, one_of, thread_count, written
from archsmith.hardware.base import Call, Device
from archsmith.method import OURS


@final
class TorchCompile(Device):
    """PyTorch's torch.compile on the processor: Inductor's C++ code for these shapes, in inference mode.

    Compiling takes seconds a network, and the first one on a machine up to a minute; it is no part of the latency.
    A network of which nothing was compiled is refused. Networks are compiled for fixed shapes. torch's number of
    threads belongs to the process: it is set for the length of a call and put back.

    Args:
        threads: of one operator.
        batch: inputs of one call.
        precision: ``"fp32"``, or ``"bf16"``: weights and inputs are converted, nothing is cast on the way.
    """

    paper = OURS
    name: ClassVar[str] = "torch_compile"
    hardware: ClassVar[str] = "cpu"
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, threads: int = 1, batch: int = 1, precision: str = "fp32") -> None:
        self._threads = thread_count(threads)
        self.batch = at_least_one("batch", batch)
        self.precision = one_of("precision", precision, _torch.CPU_PRECISIONS)

    @classmethod
    def unavailable(cls) -> str:
        """Empty where torch is installed and finds a C++ compiler."""
        return _torch.lacks_torch() or lacks_compiler()

    @property
    def spec(self) -> str:
        """Such as ``torch_compile:threads=1,batch=64``."""
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
        """Compile a copy of ``module`` in evaluation mode.

        Raises:
            MeasurementFailed: when it cannot be copied or refuses the inputs, or nothing of it was compiled.
        """

        def make() -> Call:
            size, wrap = batch or self.batch, _torch.compiler(self)
            return _torch.prepared(self, module, example_inputs, wrap, batch=size, where="cpu")

        return _torch.on_threads(make, self.threads)

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
        """Nothing is queued: a call returns when it is done."""


def lacks_compiler() -> str:
    """Why Inductor cannot compile for the processor here; empty where it can."""
    wanted = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    if any(shutil.which(name) for name in wanted):
        return ""
    return f"torch.compile needs a C++ compiler ({' or '.join(wanted)}): on Debian and Ubuntu, apt install g++"
