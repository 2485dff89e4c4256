"""Energy of one call: counted by the hardware where it has a counter that can be read, else by a stated model."""

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
"""The model: what one busy thread of a processor, a busy graphics processor, or a busy thread of a board draws.

Round figures of common hardware, not of yours: ``ARCHSMITH_WATTS`` gives those of the device as a whole.
"""
SPELLS, SPELL_S = 5, 0.3
"""Readings of a counter, and how long the network runs for each: counters move once a millisecond or less."""


class EnergyCounter(ABC):
    """A counter of the hardware that only ever grows."""

    @abstractmethod
    def joules(self) -> float:
        """What was used since some beginning."""


@final
class Rapl(EnergyCounter):
    """Running Average Power Limit: the processor packages as a whole, whoever makes them work.

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
        """The counter, where there is one that this user may read."""
        try:
            found = cls(root)
        except (OSError, ValueError):
            return None
        return found if found._domains else None

    def joules(self) -> float:
        """Of all packages; a counter that began anew at zero is seen through."""
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
    """NVIDIA's management library: the first graphics processor as a whole.

    Args:
        library: the loaded library.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library, self._handle = library, ctypes.c_void_p()
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self._handle)):
            raise OSError("the library finds no graphics processor")

    @classmethod
    def here(cls) -> Nvml | None:
        """The counter, where the driver's library is there and the graphics processor counts."""
        try:
            found = cls(ctypes.CDLL("libnvidia-ml.so.1"))
            found.joules()
        except (OSError, AttributeError):
            return None
        return found

    def joules(self) -> float:
        """Since the driver was loaded."""
        millijoules = ctypes.c_ulonglong()
        if self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle, ctypes.byref(millijoules)):
            raise OSError("this graphics processor does not count its energy")
        return 1e-3 * millijoules.value


def counter_of(device: Device) -> EnergyCounter | None:
    """The counter of what a device occupies; none where there is none, or it is another machine's."""
    if device.hardware == "cpu":
        return Rapl.here()
    return Nvml.here() if device.hardware == "cuda" else None


def watts(device: Device) -> float:
    """What the model says that a device draws while it runs a network.

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
    """Millijoules of one call of a prepared network; the hardware must be held, and quiet for a counter to be right.

    Measured: what the counter shows over spells in which nothing else of ours runs, idle power included; the median of
    five, with their range. Modelled: the model's watts times the latency.

    Args:
        device: that prepared the call.
        call: one forward pass.
        latency: in milliseconds, as it was measured.
        counter: from :func:`counter_of`.
        clock: the system's unless another is handed in.

    Raises:
        MeasurementFailed: when the counter stands still.
    """
    if counter is None:
        power = watts(device)
        return Value(power * latency.value, "modelled", power * latency.low, power * latency.high)
    clock = clock or SystemClock()
    found = []
    for _ in range(SPELLS):
        before, end, calls = counter.joules(), clock.wall() + SPELL_S, 0
        while calls == 0 or clock.wall() < end:
            call()
            calls += 1
        device.synchronize()
        found.append(1e3 * (counter.joules() - before) / calls)
    if min(found) <= 0:
        raise MeasurementFailed(f"the energy counter of {device.spec} stands still; measure again")
    return Value(float(np.median(found)), "measured", min(found), max(found))
