"""Peak memory of one call, measured in a process of its own.

``python -m archsmith.hardware.memory SPEC`` reads an archive of a file and its inputs, and prints the peak in MiB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from archsmith.errors import ArchsmithError, InvalidOption, MeasurementFailed
from archsmith.export.onnx_tools.inputs import as_arrays, resized
from archsmith.hardware.agents.wire import pack, unpack
from archsmith.hardware.base import Device
from archsmith.hardware.catalogue import open_device
from archsmith.hardware.reference import reference_call

NETWORK_CALLS = 3
TIMEOUT_S = 120.0


def peak_memory_mib(device: Device, content: bytes, example_inputs: tuple[Any, ...]) -> float:
    """Peak resident memory, in MiB, of loading and running a network, without the runtime's own.

    A new process loads the runtime and runs the reference network; its resident memory is then subtracted from its
    peak while it loads the network and runs it three times. That counts weights, the runtime's copies of them,
    activations, and the file itself while it is read.

    Args:
        device: that runs ONNX files; one on another machine measures there.
        content: of the network's file.
        example_inputs: of one call; the first dimension is resized to the device's batch.

    Raises:
        InvalidOption: when the device runs modules only.
        MeasurementFailed: when the process dies or takes too long, or the system does not report its memory.
    """
    if ".onnx" not in device.files:
        raise InvalidOption(f"peak memory is measured on devices that run ONNX files, not on {device.spec}")
    if (elsewhere := device.measured_elsewhere()) is not None:
        return elsewhere.peak_memory_mib(content, example_inputs)
    archive = pack(as_arrays(resized(example_inputs, device.batch)), content)
    command = [sys.executable, "-P", "-m", "archsmith.hardware.memory", device.spec]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    try:
        done = subprocess.run(
            command, input=archive, capture_output=True, timeout=TIMEOUT_S, check=False, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise MeasurementFailed(f"measuring the memory took longer than {TIMEOUT_S:g} s") from error
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise MeasurementFailed(f"the process that measured the memory died with {done.returncode}") from error
    if "error" in found:
        raise MeasurementFailed(f"the memory could not be measured: {found['error']}")
    return float(found["peak_mib"])


def main() -> None:
    """Measure the network on standard input; print one line of JSON."""
    archive = sys.stdin.buffer.read()
    try:
        response: dict[str, Any] = {"peak_mib": _measured(sys.argv[1], archive)}
    except (ArchsmithError, OSError, MemoryError) as error:
        response = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(response) + "\n")


def _measured(spec: str, archive: bytes) -> float:
    arrays, content = unpack(archive, most=1 << 40)
    device = open_device(spec)
    reference_call(device)()  # so that the runtime's own memory is in ``before``
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    before = _status("VmRSS")
    call = device.prepare_onnx(content or b"", tuple(arrays))
    for _ in range(NETWORK_CALLS):
        call()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    """KiB, from the kernel's status file of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
