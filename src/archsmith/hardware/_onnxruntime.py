"""Code shared by both ONNX Runtime devices."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from archsmith.errors import require
from archsmith.hardware._onnx import check_inputs
from archsmith.hardware.machine import package_version

PACKAGES = ("onnxruntime", "onnxruntime-gpu")
"""Packages that contain the module; the second one has the CUDA provider."""
_KERNEL_SUFFIX = "_kernel_time"
"""Suffix of the profiler's events that hold an operator's time."""


def package() -> str:
    """Name of the installed package; empty where there is none."""
    return next((name for name in PACKAGES if package_version(name)), "")


def session(
    name: str,
    source: str | bytes,
    arrays: Sequence[NDArray[Any]],
    *,
    threads: int,
    providers: Sequence[Any],
    profile: str = "",
) -> Any:
    """A session of ONNX Runtime: sequential, and waiting threads do not spin.

    Spinning threads take processor time from other programs and, on busy cores, from the network itself. Sizes that
    the file leaves open are set to those of ``arrays``, so that the runtime can plan for them.

    Args:
        name: of the device, for messages.
        source: a file, or its content.
        arrays: inputs in the file's order.
        threads: of one operator.
        providers: of the runtime, the wanted one first.
        profile: prefix of the path that a profile is written to; empty for none.

    Raises:
        InvalidOption: when the inputs do not fit the network.
    """
    runtime = require("onnxruntime", extra="onnx", purpose=f"The device {name}")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors are raised as well; names in files are printed as they are
    opened = runtime.InferenceSession(source, options, providers=list(providers))
    wanted = opened.get_inputs()
    check_inputs(name, [[d if isinstance(d, int) else None for d in i.shape] for i in wanted], arrays)
    open_sizes = {
        symbol: array.shape[axis]
        for given, array in zip(wanted, arrays, strict=True)
        for axis, symbol in enumerate(given.shape)
        if isinstance(symbol, str) and axis < array.ndim
    }
    if not open_sizes and not profile:
        return opened
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    for symbol, size in open_sizes.items():
        options.add_free_dimension_override_by_name(symbol, size)
    return runtime.InferenceSession(source, options, providers=list(providers))


def operator_times(
    name: str,
    source: str | bytes,
    arrays: Sequence[NDArray[Any]],
    *,
    threads: int,
    providers: Sequence[Any],
    calls: int,
) -> dict[tuple[str, str], float]:
    """Name and kind of every operator -> its milliseconds in ``calls`` calls; one call before them is not counted."""
    with tempfile.TemporaryDirectory(prefix="archsmith-") as folder:
        opened = session(name, source, arrays, threads=threads, providers=providers, profile=f"{folder}/profile")
        feed = {given.name: array for given, array in zip(opened.get_inputs(), arrays, strict=True)}
        for _ in range(calls + 1):
            opened.run(None, feed)
        events = json.loads(Path(opened.end_profiling()).read_text(encoding="utf-8"))
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL_SUFFIX):
            times[event["name"].removesuffix(_KERNEL_SUFFIX), event["args"]["op_name"]].append(event["dur"] / 1e3)
    # an operator in a loop has several times a call; leave out those of the first call
    return {key: sum(each[len(each) // (calls + 1) :]) for key, each in times.items()}
