"""What both ONNX Runtime devices share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from archsmith.errors import require
from archsmith.hardware._onnx import check_inputs
from archsmith.hardware.machine import package_version

PACKAGES = ("onnxruntime", "onnxruntime-gpu")
"""Either brings the module; the second one with the CUDA provider."""


def package() -> str:
    """The installed one of the packages; empty where there is none."""
    return next((name for name in PACKAGES if package_version(name)), "")


def session(
    name: str, source: str | bytes, arrays: Sequence[NDArray[Any]], *, threads: int, providers: Sequence[Any]
) -> Any:
    """A session of ONNX Runtime: sequential, and waiting threads do not spin.

    Spinning threads take the processor from whatever else runs, so that the network would be measured at the
    expense of its neighbours and, on busy cores, of itself. Sizes that the file leaves open become those of
    ``arrays``, so that the runtime plans for them.

    Args:
        name: of the device, for messages.
        source: a file, or its content.
        arrays: inputs in the file's order.
        threads: of one operator.
        providers: of the runtime, the wanted one first.

    Raises:
        InvalidOption: when the inputs do not fit the network.
    """
    runtime = require("onnxruntime", extra="onnx", purpose=f"The device {name}")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    opened = runtime.InferenceSession(source, options, providers=list(providers))
    wanted = opened.get_inputs()
    check_inputs(name, [[d if isinstance(d, int) else None for d in i.shape] for i in wanted], arrays)
    open_sizes = {
        symbol: array.shape[axis]
        for given, array in zip(wanted, arrays, strict=True)
        for axis, symbol in enumerate(given.shape)
        if isinstance(symbol, str) and axis < array.ndim
    }
    if not open_sizes:
        return opened
    for symbol, size in open_sizes.items():
        options.add_free_dimension_override_by_name(symbol, size)
    return runtime.InferenceSession(source, options, providers=list(providers))
