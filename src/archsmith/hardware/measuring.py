"""The latency of an ONNX file, and the time of each of its operators."""

from __future__ import annotations

from pathlib import Path

from archsmith.errors import InvalidOption, UserError
from archsmith.export.onnx_tools.onnx_file import OnnxFile
from archsmith.hardware import Measurement, Meter, open_device
from archsmith.hardware.profiling import Profile
from archsmith.progress import Listener, Reporter, nobody


def measure_file(path: Path, *, on: str, on_progress: Listener = nobody) -> Measurement:
    """Measure the latency of an ONNX file.

    Raises:
        UserError: when there is no such file, or the device cannot run it.
    """
    reporter = Reporter(on_progress)
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    device = open_device(on)
    inputs = OnnxFile(path).example_inputs()
    reporter.at("measure").progress(f"taking {device.spec}")
    with Meter(device, reporter=reporter.at("measure")) as meter:
        call = device.prepare_file(str(path), inputs)
        reporter.at("measure").progress(f"alternating {path.name} with the reference network")
        found = meter.measure(call, effort="final")
    reporter.at("measure").progress("", 1, 1)
    return found


def profile_file(path: Path, *, on: str, calls: int = 50, on_progress: Listener = nobody) -> Profile:
    """The time of each operator of an ONNX file.

    Raises:
        UserError: when there is no such file, or the device cannot run it or does not report such times.
    """
    reporter = Reporter(on_progress)
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    if calls < 1:
        raise InvalidOption(f"calls={calls}: a profile needs at least one call")
    device = open_device(on)
    inputs = OnnxFile(path).example_inputs()
    reporter.at("profile").progress(f"taking {device.spec}")
    with Meter(device, reporter=reporter.at("profile")):  # alone on the hardware
        reporter.at("profile").progress(f"{calls} calls of {path.name}")
        found = device.profile_file(str(path), inputs, calls=calls)
    reporter.at("profile").progress("", 1, 1)
    return found
