"""ONNX models after the basic rewrites of a runtime, before it chooses kernels."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from archsmith.errors import InvalidModel, require


def simplified(model: Any) -> Any:
    """The same network after ONNX Runtime's basic rewrites: batch norms merged into convolutions, constants computed.

    Operators stay standard ones, nodes keep their names, and matrix products are not hidden in a ``Gemm``.

    Args:
        model: an ``onnx.ModelProto``.

    Raises:
        MissingExtra: without onnx and onnxruntime.
        InvalidModel: when the runtime cannot read it.
    """
    runtime = require("onnxruntime", extra="onnx", purpose="Reading ONNX files")
    import onnx

    with tempfile.TemporaryDirectory(prefix="archsmith-") as folder:
        path = str(Path(folder) / "network.onnx")
        options = _options()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = path
        try:
            runtime.InferenceSession(
                model.SerializeToString(), options, ["CPUExecutionProvider"], disabled_optimizers=["MatMulAddFusion"]
            )
        except Exception as error:  # the runtime raises many kinds
            raise InvalidModel(f"ONNX Runtime cannot read the network: {str(error).splitlines()[0][:300]}") from error
        return onnx.load(path)


def session_of(content: bytes) -> Any:
    """A session of ONNX Runtime on one thread of the processor."""
    runtime = require("onnxruntime", extra="onnx", purpose="Running ONNX files")
    return runtime.InferenceSession(content, _options(), providers=["CPUExecutionProvider"])


def _options() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised as well; the runtime would print names in files unescaped
    return options
