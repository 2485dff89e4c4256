"""The latency of an ONNX file, and where its time goes."""

from __future__ import annotations

from pathlib import Path

from archsmith.errors import InvalidOption, UserError
from archsmith.export.onnx_tools.onnx_file import OnnxFile
from archsmith.hardware import Measurement, Meter, open_device
from archsmith.hardware.profiling import Profile
from archsmith.progress import Listener, Progress, nobody


def measure_file(path: Path, *, on: str, on_progress: Listener = nobody) -> Measurement:
    """Measure the latency of an ONNX file.

    Raises:
        UserError: when there is no such file, or the device cannot run it.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    device = open_device(on)
    inputs = OnnxFile(path).example_inputs()
    on_progress(Progress("measure", f"taking {device.spec}"))
    with Meter(device, on_message=lambda text: on_progress(Progress("measure", text))) as meter:
        call = device.prepare_file(str(path), inputs)
        on_progress(Progress("measure", f"alternating {path.name} with the reference network"))
        found = meter.measure(call, effort="final")
    on_progress(Progress("measure", "", 1, 1))
    return found


def profile_file(path: Path, *, on: str, calls: int = 50, on_progress: Listener = nobody) -> Profile:
    """Where the time of an ONNX file goes, operator by operator.

    Raises:
        UserError: when there is no such file, or the device cannot run it or tells no such times.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    if calls < 1:
        raise InvalidOption(f"calls={calls}: a profile needs at least one call")
    device = open_device(on)
    inputs = OnnxFile(path).example_inputs()
    on_progress(Progress("profile", f"taking {device.spec}"))
    with Meter(device, on_message=lambda text: on_progress(Progress("profile", text))):  # alone on the hardware
        on_progress(Progress("profile", f"{calls} calls of {path.name}"))
        found = device.profile_file(str(path), inputs, calls=calls)
    on_progress(Progress("profile", "", 1, 1))
    return found
