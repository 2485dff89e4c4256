"""PyTorch on the processor, operator by operator."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, final

from archsmith.errors import InvalidOption, MeasurementFailed, require
from archsmith.export._inputs import resized
from archsmith.hardware._options import at_least_one, device_fingerprint, thread_count
from archsmith.hardware.base import Call, Device
from archsmith.hardware.machine import package_version
from archsmith.method import OURS


@final
class TorchCpu(Device):
    """PyTorch in eager mode on the processor, in inference mode and fp32.

    torch's number of threads belongs to the process: it is set for the length of a call and put back.

    Args:
        threads: of one operator.
        batch: inputs of one call.
    """

    paper = OURS
    name: ClassVar[str] = "torch_cpu"
    hardware: ClassVar[str] = "cpu"
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, threads: int = 1, batch: int = 1) -> None:
        self._threads = thread_count(threads)
        self.batch = at_least_one("batch", batch)

    @classmethod
    def unavailable(cls) -> str:
        """Empty where torch is installed."""
        return "" if package_version("torch") else "needs torch: pip install 'archsmith[torch]'"

    @property
    def spec(self) -> str:
        """Such as ``torch_cpu:threads=1,batch=64``."""
        return f"{self.name}:threads={self.threads},batch={self.batch}"

    @property
    def threads(self) -> int:
        """Threads of one operator."""
        return self._threads

    @property
    def fingerprint(self) -> str:
        """Of processor, torch's version and options."""
        return device_fingerprint(self.spec, "fp32", "torch")

    def prepare(self, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Copy ``module`` into evaluation mode.

        Raises:
            MeasurementFailed: when it cannot be copied, or refuses the inputs.
        """
        torch = require("torch", extra="torch", purpose="The device torch_cpu")
        inputs = resized(example_inputs, batch or self.batch)
        threads = self.threads

        def call() -> object:
            before = torch.get_num_threads()
            if before == threads:
                with torch.inference_mode():
                    return copied(*inputs)
            torch.set_num_threads(threads)
            try:
                with torch.inference_mode():
                    return copied(*inputs)
            finally:
                torch.set_num_threads(before)

        try:
            copied = copy.deepcopy(module).cpu().eval()
            call()
        except Exception as error:  # a user's network may raise anything
            raise MeasurementFailed(f"{self.spec} cannot run this network: {error}") from error
        return call

    def prepare_file(self, path: str, example_inputs: tuple[Any, ...]) -> Call:  # noqa: ARG002
        """Refused: eager torch runs modules.

        Raises:
            InvalidOption: always.
        """
        raise InvalidOption(f"{self.name} runs modules, not files like {path}; onnxruntime runs .onnx files")

    def synchronize(self) -> None:
        """Nothing is queued: a call returns when it is done."""
