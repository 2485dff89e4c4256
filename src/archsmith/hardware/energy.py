"""Energy of one call: measured with the hardware's counter where there is one, else modelled as power times latency."""

from __future__ import annotations

import ctypes
import math
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import final

import numpy as np

from archsmith.errors import InvalidOption, MeasurementFailed
from archsmith.hardware.base import Call, Device
from archsmith.hardware.clock import Clock, SystemClock
from archsmith.value import Value

RAPL = Path("/sys/class/powercap")
WATTS = {"cpu": 10.0, "cuda": 250.0, "remote": 5.0}
"""The model's watts: of one busy thread of a processor, of a busy graphics processor, of one busy thread of a board.

Round figures of common hardware, not of yours: set ``ARCHSMITH_WATTS`` to the watts of your whole device.
"""
READINGS, READING_S = 5, 0.3
"""Readings of a counter, and seconds that the network runs for each: counters step once a millisecond or less often."""


class EnergyCounter(ABC):
    """A counter of the hardware that only grows."""

    @abstractmethod
    def joules(self) -> float:
        """Joules used since an arbitrary start."""


@final
class Rapl(EnergyCounter):
    """Running Average Power Limit: the energy of whole processor packages, for all programs together.

    Args:
        root: of the system's power-capping folder.
    """

    def __init__(self, root: Path = RAPL) -> None:
        self._domains = [d for d in sorted(root.glob("intel-rapl:*")) if d.name.count(":") == 1]
        self._last = [self._read(d) for d in self._domains]
        self._most = [int((d / "max_energy_range_uj").read_text(encoding="ascii")) for d in self._domains]
        self._sum = 0

    @classmethod
    def here(cls, root: Path = RAPL) -> Rapl | None:
        """The counter; ``None`` where there is none that this user may read."""
        try:
            found = cls(root)
        except (OSError, ValueError):
            return None
        return found if found._domains else None

    def joules(self) -> float:
        """Joules of all packages; counters that wrap around to zero are corrected."""
        now = [self._read(d) for d in self._domains]
        steps = zip(now, self._last, self._most, strict=True)
        self._sum += sum(a - b if a >= b else a - b + most for a, b, most in steps)
        self._last = now
        return 1e-6 * self._sum

    @staticmethod
    def _read(domain: Path) -> int:
        return int((domain / "energy_uj").read_text(encoding="ascii"))


@final
class Nvml(EnergyCounter):
    """NVIDIA's management library: the energy of the whole first graphics processor.

    Args:
        library: the loaded library.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library, self._handle = library, ctypes.c_void_p()
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self._handle)):
            raise OSError("the library finds no graphics processor")

    @classmethod
    def here(cls) -> Nvml | None:
        """The counter; ``None`` without the driver's library, or where the graphics processor has no counter."""
        try:
            found = cls(ctypes.CDLL("libnvidia-ml.so.1"))
            found.joules()
        except (OSError, AttributeError):
            return None
        return found

    def joules(self) -> float:
        """Joules since the driver was loaded."""
        millijoules = ctypes.c_ulonglong()
        if self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle, ctypes.byref(millijoules)):
            raise OSError("this graphics processor does not count its energy")
        return 1e-3 * millijoules.value


def counter_of(device: Device) -> EnergyCounter | None:
    """The counter of a device's hardware; ``None`` where there is none, or the device is on another machine."""
    if device.hardware == "cpu":
        return Rapl.here()
    return Nvml.here() if device.hardware == "cuda" else None


def watts(device: Device) -> float:
    """Watts that a device draws while it runs a network, by the model.

    Raises:
        InvalidOption: when ``ARCHSMITH_WATTS`` is no positive number.
    """
    given = os.environ.get("ARCHSMITH_WATTS")
    if given is None:
        return WATTS.get(device.hardware, WATTS["cpu"]) * device.threads
    try:
        found = float(given)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise InvalidOption(f"ARCHSMITH_WATTS={given!r} must be a positive number of watts, such as 15")
    return found


def energy_mj(
    device: Device,
    call: Call,
    latency: Value,
    counter: EnergyCounter | None,
    *,
    clock: Clock | None = None,
) -> Value:
    """Millijoules of one call of a prepared network, idle power included.

    Hold the hardware's lock; a counter is right only if no other program runs. Measured: the network is called for
    0.3 s between two readings of the counter; the median of five such periods, with their range as the interval.
    Modelled: the model's watts times the latency.

    Args:
        device: that prepared the call.
        call: one forward pass.
        latency: in milliseconds, as it was measured.
        counter: from :func:`counter_of`.
        clock: the system's unless given.

    Raises:
        MeasurementFailed: when the counter does not change.
    """
    if counter is None:
        power = watts(device)
        return Value(power * latency.value, "modelled", power * latency.low, power * latency.high)
    clock = clock or SystemClock()
    found = []
    for _ in range(READINGS):
        before, end, calls = counter.joules(), clock.wall() + READING_S, 0
        while calls == 0 or clock.wall() < end:
            call()
            calls += 1
        device.synchronize()
        found.append(1e3 * (counter.joules() - before) / calls)
    if min(found) <= 0:
        raise MeasurementFailed(f"the energy counter of {device.spec} stands still; measure again")
    return Value(float(np.median(found)), "measured", min(found), max(found))
