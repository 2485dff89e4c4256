"""The measurement protocol: what ``latency_ms`` means.

A candidate and the reference network run in turns. With one thread the ratio of their trimmed mean CPU times is
used, with several the ratio of their shortest wall times. That ratio, times the wall time that the reference
takes on a quiet machine (the *anchor*), is the latency. Load, clock rate and other programs change from second to
second, but they slow both networks alike. So the ratio is repeatable where the times are not.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal

import numpy as np

from archsmith.errors import DamagedFile, InvalidOption, MeasurementFailed, unknown
from archsmith.files import home_folder
from archsmith.hardware.agents.forms import MeasurementForm, wrong_measurement
from archsmith.hardware.base import Call, Device, Elsewhere
from archsmith.hardware.clock import Clock, SystemClock, cpu_tick
from archsmith.hardware.lock import HardwareLock
from archsmith.hardware.machine import governor, load_average
from archsmith.hardware.reference import (
    anchor_file,
    read_anchor,
    reference_call,
    time_reference,
    write_anchor,
)
from archsmith.hardware.sampling import Effort, Estimate, Sampling, no_garbage_collection, warm_up
from archsmith.hardware.statistics import GROUP_TOLERANCE
from archsmith.progress import SILENT, Reporter
from archsmith.value import Value

VERSION = 1
"""Of the protocol; latencies of different versions are not comparable."""
CPU_SAMPLE_S = 1e-3
"""Shortest sample of CPU time: of shorter calls, several are timed together."""
WALL_SAMPLE_S = 2e-4
"""Shortest sample of wall time; short enough to fit between two interruptions."""
COARSE_TICK_S = 1e-3
"""Where the CPU clock's step is longer than this, wall-time minima are used with one thread, too."""
TICKS_PER_SAMPLE = 20
"""A sample lasts at least so many steps of the CPU clock."""
MAX_HALF_INTERVAL = 0.5
"""Largest half of the interval, as a share of the ratio; a wider one is no measurement."""
ATTEMPTS = 3
"""How often a measurement is tried while its interval is too wide, or the machine too busy for short calls."""
PAUSE_S = 0.5
"""Seconds between two attempts."""


EFFORTS: Mapping[str, Effort] = MappingProxyType(
    {
        "search": Effort(groups=2, most=6, group_s=1.0, least=10),
        "final": Effort(groups=5, most=15, group_s=4.0, least=20),
    }
)
"""``search`` for candidates, ``final`` for members of the front and exported files."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measured latency, with the data to judge it.

    Args:
        latency_ms: ratio times anchor: the wall time of one call on a quiet machine.
        low: lower end of its 95 % interval.
        high: upper end.
        ratio: candidate over reference.
        anchor_ms: wall time of the reference on a quiet machine.
        reference_ms: median wall time of the reference during this measurement; compared with the anchor it shows how
            busy the machine was.
        wall_p50_ms: median wall time of the candidate on the busy machine, waiting included.
        wall_p95_ms: 95th percentile of the same.
        groups: the ratio of every group, in order.
        agreed: whether the last two groups agreed; if not, the interval is wide.
        clock: ``"cpu"`` for trimmed mean CPU times, ``"wall"`` for wall-time minima.
        samples: samples of each network in a group.
        calls_per_sample: of the candidate; samples of very short calls are means over several.
        repeats: timed calls of the candidate.
        threads: of one call.
        load: the system's load average over the minute before the measurement.
        governor: of the clock rate, where the system names it.
        effort: ``"search"`` or ``"final"``.
        seconds: duration of the measurement.
        device: spec of the device.
        fingerprint: of the device.
        raw: milliseconds per call of every sample, ``candidate_cpu``, ``candidate_wall``, ``reference_cpu`` and
            ``reference_wall``, group after group.
    """

    latency_ms: float
    low: float
    high: float
    ratio: float
    anchor_ms: float
    reference_ms: float
    wall_p50_ms: float
    wall_p95_ms: float
    groups: tuple[float, ...]
    agreed: bool
    clock: Literal["cpu", "wall"]
    samples: int
    calls_per_sample: int
    repeats: int
    threads: int
    load: float | None
    governor: str | None
    effort: str
    seconds: float
    device: str = ""
    fingerprint: str = ""
    raw: Mapping[str, tuple[float, ...]] = field(default_factory=dict, repr=False)

    def value(self) -> Value:
        """As the value of a metric."""
        return Value(self.latency_ms, "measured", self.low, self.high)

    def to_json(self) -> dict[str, Any]:
        """Plain data; :meth:`from_json` reads it back."""
        return self.summary() | {"raw": {name: list(samples) for name, samples in self.raw.items()}}

    def summary(self) -> dict[str, Any]:
        """The same without the raw samples."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "raw"}
        return found | {"groups": list(self.groups)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """The inverse of :meth:`to_json`.

        Raises:
            DamagedFile: when ``data`` has another form.
        """
        plain = dict(data) if isinstance(data, Mapping) else data
        if wrong := wrong_measurement(plain) or ", ".join(map(repr, plain.keys() - MeasurementForm.__annotations__)):
            raise DamagedFile(f"not a measurement: {str(plain)[:80]!r} ({wrong})")
        raw = {name: tuple(samples) for name, samples in plain.get("raw", {}).items()}
        return cls(**{**plain, "groups": tuple(plain["groups"]), "raw": raw})

    def __str__(self) -> str:
        return f"{self.latency_ms:.4g} ms [{self.low:.4g}, {self.high:.4g}]"


class Meter:
    """Measures latencies on one device; a context manager that locks the hardware.

    Args:
        device: what networks run on.
        home: folder of locks and anchors; see :func:`~archsmith.files.home_folder`.
        clock: the system's unless given.
        anchor_ms: of a run that goes on, so that its latencies stay comparable. Unless given, the machine's stored
            anchor is used, or measured now and stored.
        wait_s: how long to wait for another process that measures on the same hardware.
        reporter: gets progress; a stop request while waiting for that process raises ``Interrupted``.
    """

    def __init__(
        self,
        device: Device,
        *,
        home: Path | None = None,
        clock: Clock | None = None,
        anchor_ms: float | None = None,
        wait_s: float = 600.0,
        reporter: Reporter = SILENT,
    ) -> None:
        if anchor_ms is not None and not 0 < anchor_ms < math.inf:
            raise InvalidOption(f"anchor_ms={anchor_ms} must be a positive number of milliseconds")
        self.device = device
        self._home = home_folder(home)
        self._clock = clock or SystemClock()
        self._anchor_ms = anchor_ms
        self._wait_s = wait_s
        self._reporter = reporter
        self._reference: Call | None = None
        self._elsewhere: Elsewhere | None = None
        self._cpu_clock = False
        self._sample_s = CPU_SAMPLE_S
        self._open = ExitStack()

    def __enter__(self) -> Meter:
        """Lock the hardware and load the reference.

        Raises:
            RunLocked: when another process measures on it for longer than ``wait_s``.
            MeasurementFailed: when the reference cannot run.
        """
        if (elsewhere := self.device.measured_elsewhere()) is not None:
            self._anchor_ms = elsewhere.anchor(self._anchor_ms, self._reporter)
            self._elsewhere = elsewhere
            return self
        lock = self._home / "locks" / f"{self.device.hardware}.lock"
        with ExitStack() as stack:
            stack.enter_context(HardwareLock(lock, wait_s=self._wait_s, reporter=self._reporter))
            self._reference = reference_call(self.device)
            warm_up(self._reference, self.device.synchronize, self._clock)
            tick = cpu_tick(self._clock)
            self._cpu_clock = self.device.threads == 1 and not self.device.wall_only and tick <= COARSE_TICK_S
            self._sample_s = max(CPU_SAMPLE_S, TICKS_PER_SAMPLE * tick) if self._cpu_clock else WALL_SAMPLE_S
            if self._anchor_ms is None:
                self._anchor_ms = self._find_anchor(self._reference)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reference = self._elsewhere = None
        self._open.close()

    @property
    def anchor_ms(self) -> float:
        """Milliseconds of the reference on a quiet machine; known once the meter has been open."""
        if self._anchor_ms is None:
            raise InvalidOption("the anchor is not known yet: write `with Meter(device) as meter:`")
        return self._anchor_ms

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of device, anchor and protocol: equal means comparable latencies."""
        text = f"{self.device.fingerprint} {self.anchor_ms!r} {VERSION}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def measure(self, call: Call, effort: str = "search") -> Measurement:
        """The latency of ``call``, which the device prepared.

        Args:
            call: one forward pass.
            effort: ``"search"`` (two groups of samples where they agree: about 0.2 s for a call of 1 ms) or
                ``"final"`` (five).

        Raises:
            MeasurementFailed: when the call takes no time, or the groups differ too much.
        """
        if effort not in EFFORTS:
            raise unknown("effort", effort, EFFORTS)
        if self._elsewhere is not None:
            return Measurement.from_json(self._elsewhere.measure(call, effort, self.anchor_ms))
        if self._reference is None:
            raise InvalidOption("the meter is closed: write `with Meter(device) as meter:` around the measurement")
        load = load_average()
        start = self._clock.wall()
        session, agreed, found = self._calmest(self._reference, call, EFFORTS[effort], load)
        walls = 1e3 * np.concatenate([g.candidate_wall for g in session.taken])
        return Measurement(
            latency_ms=found.ratio * self.anchor_ms,
            low=found.low * self.anchor_ms,
            high=found.high * self.anchor_ms,
            ratio=found.ratio,
            anchor_ms=self.anchor_ms,
            reference_ms=1e3 * float(np.median(np.concatenate([g.reference_wall for g in session.taken]))),
            wall_p50_ms=float(np.percentile(walls, 50)),
            wall_p95_ms=float(np.percentile(walls, 95)),
            groups=tuple(session.ratios),
            agreed=agreed,
            clock="cpu" if self._cpu_clock else "wall",
            samples=session.samples,
            calls_per_sample=session.candidate_calls,
            repeats=session.candidate_calls * walls.size,
            threads=self.device.threads,
            load=load,
            governor=governor(),
            effort=effort,
            seconds=self._clock.wall() - start,
            device=self.device.spec,
            fingerprint=self.device.fingerprint,
            raw=session.raw(),
        )

    def _calmest(
        self, reference: Call, call: Call, effort: Effort, load: float | None
    ) -> tuple[Sampling, bool, Estimate]:
        """Measure until an attempt succeeds; for short calls on a busy machine, take the least disturbed attempt."""
        found: list[tuple[Sampling, bool, Estimate]] = []
        for _ in range(ATTEMPTS):
            if found:
                self._clock.sleep(PAUSE_S)
            session, agreed, estimate = self._attempt(reference, call, effort)
            half = max(estimate.high - estimate.ratio, estimate.ratio - estimate.low)
            if math.isfinite(estimate.high) and half <= MAX_HALF_INTERVAL * estimate.ratio:
                found.append((session, agreed, estimate))
                if not estimate.disturbed:
                    break
        if not found:
            seen = ", ".join(f"{r:.3g}" for r in session.ratios)
            raise MeasurementFailed(
                f"no trustworthy latency on {self.device.spec}: in the last of {ATTEMPTS} attempts "
                f"{len(session.ratios)} groups gave {seen} times the reference (load {load}); end other programs "
                "and measure again"
            )
        return min(found, key=lambda each: each[2].slowdown)

    def _attempt(self, reference: Call, call: Call, effort: Effort) -> tuple[Sampling, bool, Estimate]:
        """One measurement: its samples, whether its groups agreed, and the estimate."""
        session = Sampling(reference, call, self.device.synchronize, self._clock, cpu_clock=self._cpu_clock)
        session.size(effort, self._sample_s)
        with no_garbage_collection():
            agreed = session.run(effort)
        return session, agreed, session.estimate(1e-3 * self.anchor_ms, agreed=agreed)

    def _find_anchor(self, reference: Call) -> float:
        file = anchor_file(self._home, self.device)
        stored = read_anchor(file)
        if stored is None:
            self._reporter.progress(f"timing the reference network on {self.device.spec}, once for this machine")
            stored = time_reference(self.device, reference, self._clock)
            write_anchor(file, self.device, stored)
            return stored
        now = time_reference(self.device, reference, self._clock, periods=1)
        if now < (1 - GROUP_TOLERANCE) * stored:
            self._reporter.progress(
                f"the reference network takes {now:.3g} ms on {self.device.spec}, but {stored:.3g} ms when it was "
                f"first timed, on a busier machine; latencies stay comparable, but are too long by that ratio: to "
                f"start anew, delete {file} between two runs"
            )
        return stored
