"""Devices whose time follows from the weights of a network alone: searches in tests wait for no real measurement.

:func:`steady_time` keeps the runtimes of this machine and replaces their clocks; :class:`Steady` needs no runtime and
is opened by its name, also by another process: ``archsmith.testing.steady:Steady:batch=8``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from archsmith.hardware import Call, Device, Meter, SystemClock
from archsmith.hardware.base import Elsewhere
from archsmith.hardware.devices.onnxruntime import OnnxRuntime
from archsmith.hardware.devices.openvino import OpenVino
from archsmith.hardware.devices.torch_cpu import TorchCpu
from archsmith.method import OURS
from archsmith.progress import Reporter
from archsmith.testing.clock import FakeClock, FakeDevice

START_MS = 0.02
MS_PER_BYTE = 1e-5
NOISE = 0.005
"""Standard deviation of the logarithm of a call's time, so that intervals have a width."""


def milliseconds(source: str | bytes) -> float:
    """What a call of an ONNX file, or of its content, takes: by the bytes of its weights."""
    import onnx

    content = Path(source).read_bytes() if isinstance(source, str) else source
    weights = onnx.load_from_string(content).graph.initializer
    return START_MS + MS_PER_BYTE * sum(onnx.numpy_helper.to_array(w).nbytes for w in weights)


@contextmanager
def steady_time() -> Iterator[FakeClock]:
    """Inside, networks run and compute as ever, and the clocks show what their weights say."""
    clock, rng = FakeClock(), np.random.default_rng(0)

    def timed(call: Call, latency_ms: float) -> Call:
        found: list[object] = []

        def run() -> object:
            if not found:
                found.append(call())
            passed = 1e-3 * latency_ms * float(np.exp(NOISE * rng.standard_normal()))
            clock.advance(passed, passed)
            return found[0]

        return run

    def opening(real: Callable[..., Call]) -> Callable[..., Call]:
        return lambda self, source, arrays: timed(real(self, source, arrays), milliseconds(source))

    def preparing(self: TorchCpu, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        weights = sum(p.numel() * p.element_size() for p in module.parameters())
        return timed(prepare(self, module, example_inputs, batch=batch), START_MS + MS_PER_BYTE * weights)

    prepare = TorchCpu.prepare
    with pytest.MonkeyPatch.context() as patch:
        for device in (OnnxRuntime, OpenVino):
            patch.setattr(device, "_opened", opening(device._opened))
        patch.setattr(TorchCpu, "prepare", preparing)
        patch.setattr(SystemClock, "wall", lambda _: clock.wall())
        patch.setattr(SystemClock, "cpu", lambda _: clock.cpu())
        patch.setattr(SystemClock, "sleep", lambda _, seconds: clock.sleep(seconds))
        yield clock


class Steady(Device):
    """A device in software that is opened by its name, and brings its own clock.

    Args:
        batch: of one call.
    """

    paper = OURS
    name: ClassVar[str] = "steady"
    hardware: ClassVar[str] = "steady"
    files: ClassVar[tuple[str, ...]] = (".onnx",)
    precision = "fp32"
    threads = 1

    def __init__(self, *, batch: int = 1) -> None:
        self.batch = batch
        self._timed = FakeDevice(FakeClock(), batch=batch, ms_per_parameter=4 * MS_PER_BYTE, noise=NOISE)

    @classmethod
    def unavailable(cls) -> str:
        """Works everywhere."""
        return ""

    @property
    def spec(self) -> str:
        """As it is opened."""
        return f"{__name__}:Steady:batch={self.batch}"

    @property
    def fingerprint(self) -> str:
        """Of its batch."""
        return self._timed.fingerprint

    def prepare(self, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """A call that takes the time of the module's parameters."""
        return self._timed.prepare(module, example_inputs, batch=batch)

    def prepare_onnx(self, content: bytes, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """A call that takes the time of the content's bytes."""
        return self._timed.prepare_onnx(content, example_inputs, batch=batch)

    def prepare_file(self, path: str, example_inputs: tuple[Any, ...]) -> Call:
        """A call that takes the time of the file's bytes."""
        return self._timed.prepare_file(path, example_inputs)

    def synchronize(self) -> None:
        """Nothing is queued."""

    def measured_elsewhere(self) -> Elsewhere:
        """By its own clock."""
        return self

    def anchor(self, anchor_ms: float | None, reporter: Reporter) -> float:  # noqa: ARG002
        """Of the reference, by its own clock."""
        return anchor_ms or 1.0

    def measure(self, call: Call, effort: str, anchor_ms: float) -> Mapping[str, Any]:
        """By the protocol as it stands."""
        with Meter(self._timed, clock=self._timed.clock, anchor_ms=anchor_ms) as meter:
            return meter.measure(call, effort).to_json()

    def peak_memory_mib(self, content: bytes, example_inputs: tuple[Any, ...]) -> float:  # noqa: ARG002
        """The bytes of the content."""
        return len(content) / 2**20
