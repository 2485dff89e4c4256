"""ONNX Runtime on the processor."""

from __future__ import annotations

from typing import Any, ClassVar, final

from numpy.typing import NDArray

from archsmith.hardware import _onnx
from archsmith.hardware._onnx import OnnxDevice
from archsmith.hardware._onnxruntime import operator_times, package, session
from archsmith.hardware._options import at_least_one, device_fingerprint, one_of, thread_count, written
from archsmith.hardware.base import Call
from archsmith.hardware.profiling import Profile, profile_of
from archsmith.method import OURS


@final
class OnnxRuntime(OnnxDevice):
    """ONNX Runtime with its CPU provider: sequential, one session per network, waiting threads do not spin.

    The fast exporter of :mod:`archsmith.export.onnx_tools.fast_exporter` turns candidates into files, in memory.

    Args:
        threads: of one operator; operators run one after another.
        batch: inputs of one call.
        precision: ``"fp32"``: nothing is converted; operators quantised in the file stay quantised. ``"int8"``: all
            layers of a file that is not quantised are quantised, with ranges from random inputs: for times, not for
            outputs.
    """

    paper = OURS
    name: ClassVar[str] = "onnxruntime"
    hardware: ClassVar[str] = "cpu"
    layer_precisions: ClassVar[tuple[str, ...]] = ("int8", "int4")

    def __init__(self, *, threads: int = 1, batch: int = 1, precision: str = "fp32") -> None:
        self._threads = thread_count(threads)
        self.batch = at_least_one("batch", batch)
        self.precision = one_of("precision", precision, ("fp32", "int8"))

    @classmethod
    def unavailable(cls) -> str:
        """Empty where onnxruntime is installed."""
        return "" if package() else "needs onnxruntime: pip install 'archsmith[onnx]'"

    @property
    def spec(self) -> str:
        """Such as ``onnxruntime:threads=1,batch=64``."""
        return written(self.name, threads=self.threads, batch=self.batch, precision=self.precision)

    @property
    def threads(self) -> int:
        """Threads of one operator."""
        return self._threads

    @property
    def fingerprint(self) -> str:
        """Of processor, runtime version and options."""
        return device_fingerprint(self.spec, self.precision, package())

    def profile_file(self, path: str, example_inputs: tuple[Any, ...], *, calls: int) -> Profile:
        """Profile with ONNX Runtime's own profiler, which costs a few microseconds an operator.

        Raises:
            InvalidOption: when it is no ONNX file, or was made for another batch.
            DamagedFile: when the runtime cannot load it, or the inputs do not fit it.
        """
        found: dict[tuple[str, str], float] = {}

        def opened(source: str | bytes, arrays: list[NDArray[Any]]) -> Call:
            providers = ["CPUExecutionProvider"]
            found.update(
                operator_times(self.name, source, arrays, threads=self.threads, providers=providers, calls=calls)
            )
            return lambda: None

        _onnx.from_file(self, path, example_inputs, self.batch, opened)
        return profile_of(self.spec, calls, found, path)

    def _opened(self, source: str | bytes, arrays: list[NDArray[Any]]) -> Call:
        opened = session(self.name, source, arrays, threads=self.threads, providers=["CPUExecutionProvider"])
        feed = {given.name: array for given, array in zip(opened.get_inputs(), arrays, strict=True)}
        outputs = [output.name for output in opened.get_outputs()]

        def call() -> object:
            return opened.run(outputs, feed)

        call()
        return call
