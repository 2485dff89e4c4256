"""ONNX Runtime on a CUDA graphics processor."""

from __future__ import annotations

from typing import Any, ClassVar, final

from numpy.typing import NDArray

from archsmith.errors import MeasurementFailed
from archsmith.hardware._onnx import OnnxDevice
from archsmith.hardware._onnxruntime import package, session
from archsmith.hardware._options import at_least_one, device_fingerprint, one_of, written
from archsmith.hardware.base import Call
from archsmith.hardware.machine import nvidia_gpu
from archsmith.method import OURS

PROVIDER = "CUDAExecutionProvider"


@final
class OnnxRuntimeCuda(OnnxDevice):
    """ONNX Runtime with its CUDA provider; inputs and outputs stay in the graphics processor's memory.

    A network that the provider would run on the processor is refused; the runtime would do that silently.
    Wall-time minima are used: CPU time does not count the graphics processor's work. ``CUDA_VISIBLE_DEVICES`` chooses
    among several graphics processors.

    Args:
        batch: inputs of one call.
        precision: ``"fp32"``, or ``"tf32"``: TensorFloat-32 in convolutions and matrix products. Nothing else is
            converted; operators of another precision in the file keep it.
    """

    paper = OURS
    name: ClassVar[str] = "onnxruntime_cuda"
    hardware: ClassVar[str] = "cuda"
    wall_only: ClassVar[bool] = True
    reference_batch: ClassVar[int] = 2048

    def __init__(self, *, batch: int = 1, precision: str = "fp32") -> None:
        self.batch = at_least_one("batch", batch)
        self.precision = one_of("precision", precision, ("fp32", "tf32"))

    @classmethod
    def unavailable(cls) -> str:
        """Empty where an onnxruntime with the CUDA provider is installed and there is a graphics processor."""
        if not package():
            return "needs onnxruntime with CUDA: pip install onnxruntime-gpu"
        import onnxruntime

        if PROVIDER not in onnxruntime.get_available_providers():
            return "this onnxruntime was built without CUDA: pip uninstall onnxruntime, pip install onnxruntime-gpu"
        return "" if nvidia_gpu() else "the system's driver shows no graphics processor (nvidia-smi)"

    @property
    def spec(self) -> str:
        """Such as ``onnxruntime_cuda:batch=64``."""
        return written(self.name, batch=self.batch, precision=self.precision)

    @property
    def threads(self) -> int:
        """One thread of the processor, which only launches kernels."""
        return 1

    @property
    def fingerprint(self) -> str:
        """Of processor, graphics processor, runtime version and options."""
        return device_fingerprint(self.spec, self.precision, package(), nvidia_gpu())

    def _opened(self, source: str | bytes, arrays: list[NDArray[Any]]) -> Call:
        import onnxruntime

        settings = {"use_tf32": str(int(self.precision == "tf32")), "cudnn_conv_algo_search": "EXHAUSTIVE"}
        providers = [(PROVIDER, settings), "CPUExecutionProvider"]
        opened = session(self.name, source, arrays, threads=1, providers=providers)
        if (used := opened.get_providers()[0]) != PROVIDER:
            raise MeasurementFailed(f"{self.spec} would run this network by {used}: are CUDA and cuDNN installed?")
        binding = opened.io_binding()
        for given, array in zip(opened.get_inputs(), arrays, strict=True):
            binding.bind_ortvalue_input(given.name, onnxruntime.OrtValue.ortvalue_from_numpy(array, "cuda", 0))
        for output in opened.get_outputs():
            binding.bind_output(output.name, "cuda", 0)

        def call() -> object:
            opened.run_with_iobinding(binding)
            return binding.get_outputs()

        call()
        return call
