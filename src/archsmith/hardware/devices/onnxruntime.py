"""ONNX Runtime on the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, final

from archsmith.errors import DamagedFile, InvalidOption, MeasurementFailed, require
from archsmith.export._inputs import resized
from archsmith.hardware._options import at_least_one, device_fingerprint, one_of, thread_count
from archsmith.hardware.base import Call, Device
from archsmith.hardware.machine import package_version
from archsmith.method import OURS


@final
class OnnxRuntime(Device):
    """ONNX Runtime with its CPU provider: sequential, one session per network, waiting threads do not spin.

    Candidates become files by the fast exporter of :mod:`archsmith.export._candidate`, in memory.
    Spinning threads take the processor from whatever else runs, so that the network would be measured
    at the expense of its neighbours and, on busy cores, of itself.

    Args:
        threads: of one operator; operators run one after another.
        batch: inputs of one call.
        precision: ``"fp32"``.
    """

    paper = OURS
    name: ClassVar[str] = "onnxruntime"
    hardware: ClassVar[str] = "cpu"
    files: ClassVar[tuple[str, ...]] = (".onnx",)

    def __init__(self, *, threads: int = 1, batch: int = 1, precision: str = "fp32") -> None:
        self._threads = thread_count(threads)
        self.batch = at_least_one("batch", batch)
        self.precision = one_of("precision", precision, ("fp32",))

    @classmethod
    def unavailable(cls) -> str:
        """Empty where onnxruntime is installed."""
        return "" if package_version("onnxruntime") else "needs onnxruntime: pip install 'archsmith[onnx]'"

    @property
    def spec(self) -> str:
        """Such as ``onnxruntime:threads=1,batch=64``."""
        return f"{self.name}:threads={self.threads},batch={self.batch}"

    @property
    def threads(self) -> int:
        """Threads of one operator."""
        return self._threads

    @property
    def fingerprint(self) -> str:
        """Of processor, runtime version and options."""
        return device_fingerprint(self.spec, self.precision, "onnxruntime")

    def prepare(self, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Export a copy of ``module`` in memory and open a session for it.

        Raises:
            MeasurementFailed: when the exporter or the runtime refuses the network.
        """
        from archsmith.export._candidate import candidate_onnx

        inputs = resized(example_inputs, batch or self.batch)
        try:
            return self._session(candidate_onnx(module, inputs), inputs)
        except InvalidOption:
            raise
        except Exception as error:  # exporters and runtime raise many kinds
            raise MeasurementFailed(f"{self.spec} cannot run this network: {_first_line(error)}") from error

    def prepare_onnx(self, content: bytes, example_inputs: tuple[Any, ...]) -> Call:
        """Open a session for a candidate's file.

        Raises:
            MeasurementFailed: when the runtime refuses the network.
        """
        inputs = resized(example_inputs, self.batch)
        try:
            return self._session(content, inputs)
        except InvalidOption:
            raise
        except Exception as error:  # the runtime raises many kinds
            raise MeasurementFailed(f"{self.spec} cannot run this network: {_first_line(error)}") from error

    def prepare_file(self, path: str, example_inputs: tuple[Any, ...]) -> Call:
        """Open a session for an ``.onnx`` file.

        Raises:
            InvalidOption: when it is no ONNX file, or was made for another batch.
            DamagedFile: when the runtime cannot load it, or the inputs do not fit it.
        """
        if not path.endswith(self.files):
            raise InvalidOption(f"{self.name} reads .onnx files, got {path}")
        if not Path(path).is_file():
            raise InvalidOption(f"there is no file {path}")
        inputs = resized(example_inputs, self.batch)
        try:
            return self._session(path, inputs)
        except InvalidOption:
            raise
        except Exception as error:  # the runtime raises many kinds
            raise DamagedFile(f"{self.name} cannot run {path}: {_first_line(error)}") from error

    def synchronize(self) -> None:
        """Nothing is queued: a call returns when it is done."""

    def _session(self, source: str | bytes, inputs: tuple[Any, ...]) -> Call:
        runtime = require("onnxruntime", extra="onnx", purpose="The device onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        arrays = [x.detach().cpu().numpy() for x in inputs if hasattr(x, "detach")]
        wanted = session.get_inputs()
        if len(wanted) != len(arrays):
            raise InvalidOption(f"the network reads {len(wanted)} inputs, the example has {len(arrays)}")
        for given, array in zip(wanted, arrays, strict=True):
            size = given.shape[0] if given.shape else None
            if isinstance(size, int) and array.ndim and size != array.shape[0]:
                raise InvalidOption(
                    f"the file was made for batches of {size}, the device runs {array.shape[0]}: "
                    f"use {self.name}:batch={size}, or export with a dynamic batch"
                )
        feed = {given.name: array for given, array in zip(wanted, arrays, strict=True)}
        outputs = [output.name for output in session.get_outputs()]

        def call() -> object:
            return session.run(outputs, feed)

        call()
        return call


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
