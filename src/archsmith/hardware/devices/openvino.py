"""OpenVINO on the processor."""

from __future__ import annotations

import io
from collections import defaultdict
from typing import Any, ClassVar, final

from numpy.typing import NDArray

from archsmith.errors import InvalidOption, MeasurementFailed, require
from archsmith.hardware import _onnx
from archsmith.hardware._onnx import OnnxDevice
from archsmith.hardware._options import at_least_one, device_fingerprint, one_of, thread_count, written
from archsmith.hardware.base import Call
from archsmith.hardware.machine import package_version
from archsmith.hardware.profiling import Profile, profile_of
from archsmith.method import OURS

PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""archsmith's name of a precision -> OpenVINO's."""


@final
class OpenVino(OnnxDevice):
    """OpenVINO's CPU plug-in on ONNX files: one stream, threads that are not pinned, a precision that is always set.

    By default OpenVINO computes in bf16 on processors that can, which changes both time and outputs. Threads are not
    pinned, because a pinned thread must share its core with any program that runs there.

    Args:
        threads: of one call.
        batch: inputs of one call.
        precision: ``"fp32"``, or ``"bf16"`` on a processor that has it; operators quantised in the file stay quantised.
            ``"int8"``: all layers of a file that is not quantised are quantised, with ranges from random inputs: for
            times, not for outputs.

    Raises:
        InvalidOption: for ``bf16`` on a processor without it: OpenVINO would silently compute in fp32.
    """

    paper = OURS
    name: ClassVar[str] = "openvino"
    hardware: ClassVar[str] = "cpu"
    layer_precisions: ClassVar[tuple[str, ...]] = ("int8", "int4")

    def __init__(self, *, threads: int = 1, batch: int = 1, precision: str = "fp32") -> None:
        self._threads = thread_count(threads)
        self.batch = at_least_one("batch", batch)
        self.precision = one_of("precision", precision, tuple(PRECISION_HINTS))
        self._core: Any = None
        if precision == "bf16" and "BF16" not in self._runtime().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise InvalidOption(
                "precision=bf16: this processor has no bf16, OpenVINO would compute in fp32; leave it out"
            )

    @classmethod
    def unavailable(cls) -> str:
        """Empty where openvino is installed."""
        return "" if package_version("openvino") else "needs openvino: pip install 'archsmith[openvino]'"

    @property
    def spec(self) -> str:
        """Such as ``openvino:threads=1,batch=64``."""
        return written(self.name, threads=self.threads, batch=self.batch, precision=self.precision)

    @property
    def threads(self) -> int:
        """Threads of one call."""
        return self._threads

    @property
    def fingerprint(self) -> str:
        """Of processor, runtime version and options."""
        return device_fingerprint(self.spec, self.precision, "openvino")

    def profile_file(self, path: str, example_inputs: tuple[Any, ...], *, calls: int) -> Profile:
        """By OpenVINO's own counters, which cost a few microseconds an operator.

        Raises:
            InvalidOption: when it is no ONNX file, or was made for another batch.
            DamagedFile: when the runtime cannot load it, or the inputs do not fit it.
        """
        times: dict[tuple[str, str], float] = defaultdict(float)

        def opened(source: str | bytes, arrays: list[NDArray[Any]]) -> Call:
            request, _ = self._request(source, arrays, profile=True)
            request.infer()
            for _ in range(calls):
                request.infer()
                for operator in request.profiling_info:
                    if operator.real_time.total_seconds() > 0:  # others were fused or folded
                        key = operator.node_name, operator.node_type
                        times[key] += 1e3 * operator.real_time.total_seconds()
            return lambda: None

        _onnx.from_file(self, path, example_inputs, self.batch, opened)
        return profile_of(self.spec, calls, times, path)

    def _runtime(self) -> Any:
        if self._core is None:
            self._core = require("openvino", extra="openvino", purpose="The device openvino").Core()
        return self._core

    def _opened(self, source: str | bytes, arrays: list[NDArray[Any]]) -> Call:
        request, compiled = self._request(source, arrays)

        def call() -> object:
            request.infer()
            return [request.get_tensor(output).data for output in compiled.outputs]

        call()
        return call

    def _request(self, source: str | bytes, arrays: list[NDArray[Any]], *, profile: bool = False) -> tuple[Any, Any]:
        """A request with its inputs, and the compiled network."""
        core, hint = self._runtime(), PRECISION_HINTS[self.precision]
        model = core.read_model(io.BytesIO(source) if isinstance(source, bytes) else source)
        shapes = [[d.get_length() if d.is_static else None for d in i.get_partial_shape()] for i in model.inputs]
        _onnx.check_inputs(self.name, shapes, arrays)
        model.reshape({i: list(array.shape) for i, array in enumerate(arrays)})
        settings = {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "PERFORMANCE_HINT": "LATENCY",
            "PERF_COUNT": profile,
        }
        compiled = core.compile_model(model, "CPU", settings)
        kept = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if kept != hint:
            raise MeasurementFailed(f"{self.spec}: OpenVINO computes this network in {kept} instead")
        request = compiled.create_infer_request()
        from openvino import Tensor

        for given, array in zip(compiled.inputs, arrays, strict=True):
            request.set_tensor(given, Tensor(array))  # a copy: shared memory would have to be kept alive
        return request, compiled
