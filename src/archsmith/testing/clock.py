"""A processor in software: its clocks move only when something runs on it, and its true latencies are known."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np

from archsmith.errors import InvalidOption
from archsmith.hardware.base import Call, Device
from archsmith.hardware.clock import Clock
from archsmith.method import OURS


@final
class FakeClock(Clock):
    """Clocks that are moved by hand.

    Args:
        read_s: what reading the wall clock costs, so that loops which wait for it end.
        tick_s: the CPU clock shows whole ticks only; 0 for none.
        jump: ``(at_s, by_s)``: the wall clock shows ``by_s`` more once ``at_s`` has passed.
    """

    def __init__(
        self, *, read_s: float = 1e-7, tick_s: float = 0.0, jump: tuple[float, float] = (math.inf, 0.0)
    ) -> None:
        self.now = 0.0
        self.spent = 0.0
        self.read_s = read_s
        self.tick_s = tick_s
        self.jump = jump

    def wall(self) -> float:
        """Seconds since the beginning."""
        self.advance(self.read_s, self.read_s)
        return self.now + (self.jump[1] if self.now >= self.jump[0] else 0.0)

    def cpu(self) -> float:
        """CPU seconds since the beginning."""
        self.advance(self.read_s, self.read_s)
        return math.floor(self.spent / self.tick_s) * self.tick_s if self.tick_s else self.spent

    def sleep(self, seconds: float) -> None:
        """Wall time passes, CPU time does not."""
        self.now += seconds

    def advance(self, wall_s: float, cpu_s: float) -> None:
        """Let time pass."""
        self.now += wall_s
        self.spent += cpu_s


@final
class FakeDevice(Device):
    """Networks take a known time for each parameter; noise and load are what the test asks for.

    Args:
        clock: what passes when a network runs.
        threads: of one call.
        batch: of one call.
        ms_per_parameter: the true latency of a network, divided by its number of parameters.
        noise: standard deviation of the logarithm of a call's CPU time.
        interruption: ``(share of calls, seconds)``: such a share of calls waits so long for the processor, and
            finds its caches cold afterwards (a tenth more CPU time).
        pace: ``pace(now_s, latency_ms)`` multiplies the CPU time of a call: drift, load, a lower clock rate.
        seed: of the noise.
    """

    paper = OURS
    name: ClassVar[str] = "fake"
    hardware: ClassVar[str] = "fake"
    files: ClassVar[tuple[str, ...]] = (".onnx",)
    precision = "fp32"

    def __init__(
        self,
        clock: FakeClock,
        *,
        threads: int = 1,
        batch: int = 1,
        ms_per_parameter: float = 3e-5,
        noise: float = 0.0,
        interruption: tuple[float, float] = (0.0, 0.0),
        pace: Callable[[float, float], float] = lambda now_s, latency_ms: 1.0,  # noqa: ARG005
        seed: int = 0,
    ) -> None:
        self.clock = clock
        self._threads = threads
        self.batch = batch
        self.ms_per_parameter = ms_per_parameter
        self.noise = noise
        self.interruption = interruption
        self.pace = pace
        self._rng = np.random.default_rng(seed)

    @classmethod
    def unavailable(cls) -> str:
        """Works everywhere."""
        return ""

    @property
    def spec(self) -> str:
        """Such as ``fake:threads=1,batch=1``."""
        return f"fake:threads={self.threads},batch={self.batch}"

    @property
    def threads(self) -> int:
        """Threads of one call."""
        return self._threads

    @property
    def fingerprint(self) -> str:
        """Of threads, batch and speed."""
        return hashlib.sha256(f"{self.spec} {self.ms_per_parameter}".encode()).hexdigest()[:16]

    def prepare(self, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:  # noqa: ARG002
        """A call that takes the module's time."""
        return self.call(self.ms_per_parameter * sum(p.numel() for p in module.parameters()))

    def prepare_onnx(self, content: bytes, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:  # noqa: ARG002
        """A call that takes the time of as many parameters as the content could hold."""
        return self.call(self.ms_per_parameter * len(content) / 4)

    def prepare_file(self, path: str, example_inputs: tuple[Any, ...]) -> Call:  # noqa: ARG002
        """A call that takes the time of as many parameters as the file could hold."""
        if not Path(path).is_file():
            raise InvalidOption(f"there is no file {path}")
        return self.call(self.ms_per_parameter * Path(path).stat().st_size / 4)

    def call(self, latency_ms: float) -> Call:
        """A call whose true latency on a quiet machine is ``latency_ms``."""

        def run() -> None:
            share, wait_s = self.interruption
            interrupted = bool(share) and self._rng.random() < share
            factor = math.exp(self.noise * self._rng.standard_normal()) if self.noise else 1.0
            cpu = 1e-3 * latency_ms * factor * self.pace(self.clock.now, latency_ms) * (1.1 if interrupted else 1.0)
            self.clock.advance(cpu + (wait_s if interrupted else 0.0), cpu)

        return run

    def synchronize(self) -> None:
        """Nothing is queued."""
