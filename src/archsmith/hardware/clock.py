"""The two clocks of a measurement; tests pass a clock of their own and need no hardware."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import final


class Clock(ABC):
    """Wall time and the CPU time of this process, in seconds."""

    @abstractmethod
    def wall(self) -> float:
        """Seconds since an arbitrary start; never runs backwards."""

    @abstractmethod
    def cpu(self) -> float:
        """Seconds that the processors spent on this process, all threads together."""

    @abstractmethod
    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` of wall time pass."""


@final
class SystemClock(Clock):
    """The clocks of the operating system."""

    def wall(self) -> float:
        """``time.perf_counter``."""
        return time.perf_counter()

    def cpu(self) -> float:
        """``time.process_time``."""
        return time.process_time()

    def sleep(self, seconds: float) -> None:
        """``time.sleep``."""
        time.sleep(seconds)


def cpu_tick(clock: Clock, *, looks: int = 20, within_s: float = 0.1) -> float:
    """The smallest step that the CPU clock was seen to take, in seconds.

    Some systems count CPU time in ticks of ten milliseconds, whatever resolution they claim.
    """
    smallest = within_s
    start = clock.wall()
    for _ in range(looks):
        before = clock.cpu()
        while (after := clock.cpu()) <= before:
            if clock.wall() - start > within_s:
                return smallest
        smallest = min(smallest, after - before)
    return smallest
