"""Time samples of a candidate and the reference network, taken in turns."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np

from archsmith.errors import MeasurementFailed
from archsmith.hardware.base import Call
from archsmith.hardware.clock import Clock
from archsmith.hardware.statistics import (
    BUSY_SLOWDOWN,
    SHORT_CALL_S,
    Samples,
    agree,
    confidence_interval,
    ratio_of_minima,
    ratio_of_trimmed_means,
    trimmed_mean,
    unequal_slowdown,
)

WARM_UP_CALLS = 10
"""Calls of each network before the first sample."""
CPU_SAMPLES = 50
"""Samples of each network in a group, where CPU time is used."""
WALL_SAMPLES = 200
"""Samples of each network in a group, where wall-time minima are used."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long a measurement may take.

    Args:
        groups: smallest number of groups; measuring ends when the last two agree.
        most: largest number of groups; then a wide interval is accepted.
        group_s: longest duration of a group; groups of slow calls have fewer samples.
        least: smallest number of samples in a group, however slow the calls.
    """

    groups: int
    most: int
    group_s: float
    least: int


@dataclass(frozen=True)
class Group:
    """Seconds per call of each sample of both networks, ``(n,)`` each."""

    candidate_cpu: Samples
    candidate_wall: Samples
    reference_cpu: Samples
    reference_wall: Samples


@dataclass(frozen=True)
class Estimate:
    """The result of the samples of one measurement.

    Args:
        ratio: candidate over reference.
        low: lower end of its 95 % interval.
        high: upper end.
        slowdown: time of the reference over its time on a quiet machine.
        disturbed: whether the calls are so short, and the machine so busy, that the ratio is unreliable.
    """

    ratio: float
    low: float
    high: float
    slowdown: float
    disturbed: bool


class Sampling:
    """The samples of one measurement."""

    def __init__(
        self, reference: Call, candidate: Call, synchronize: Callable[[], None], clock: Clock, *, cpu_clock: bool
    ) -> None:
        self.reference = reference
        self.candidate = candidate
        self.synchronize = synchronize
        self.clock = clock
        self.cpu_clock = cpu_clock
        self.ratio = ratio_of_trimmed_means if cpu_clock else ratio_of_minima
        self.samples = CPU_SAMPLES if cpu_clock else WALL_SAMPLES
        self.reference_calls = 1
        self.candidate_calls = 1
        self.taken: list[Group] = []
        self.ratios: list[float] = []

    def size(self, effort: Effort, sample_s: float) -> None:
        """Warm up, and choose how many calls make a sample and how many samples a group."""
        candidate_s = warm_up(self.candidate, self.synchronize, self.clock)
        reference_s = warm_up(self.reference, self.synchronize, self.clock)
        self.candidate_calls = math.ceil(sample_s / candidate_s)
        self.reference_calls = math.ceil(sample_s / reference_s)
        pair_s = self.candidate_calls * candidate_s + self.reference_calls * reference_s
        self.samples = max(effort.least, min(self.samples, int(effort.group_s / pair_s)))

    def run(self, effort: Effort) -> bool:
        """Take groups until the last two agree; returns whether they did."""
        while len(self.ratios) < effort.most:
            group = self._group()
            self.taken.append(group)
            self.ratios.append(self.ratio(*self._counted(group)))
            if len(self.ratios) >= effort.groups and agree(self.ratios[-2], self.ratios[-1]):
                return True
        return False

    def estimate(self, anchor_s: float, *, agreed: bool) -> Estimate:
        """The ratio and its interval.

        CPU time: the median over all groups. Wall time: the minima over all samples, because more samples only bring
        the minima closer to the true times, with the interval of the last two groups if they agreed, else of all.

        Args:
            anchor_s: time of the reference on a quiet machine, in seconds.
            agreed: what :meth:`run` returned.
        """
        counted = [self._counted(g) for g in self.taken]
        everything = [np.concatenate(samples) for samples in zip(*counted, strict=True)]
        if self.cpu_clock:
            used, value = counted, float(np.median(self.ratios))
            reference_s = trimmed_mean(everything[1])
        else:
            used, value = counted[-2:] if agreed else counted, self.ratio(*everything)
            reference_s = float(everything[1].min())
        slowdown, short = reference_s / anchor_s, value * anchor_s < SHORT_CALL_S
        low, high = confidence_interval(value, used, self.ratio, unequal=unequal_slowdown(slowdown, short=short))
        return Estimate(value, low, high, slowdown, disturbed=short and slowdown > BUSY_SLOWDOWN)

    def raw(self) -> dict[str, tuple[float, ...]]:
        """Milliseconds per call of every sample, to the nearest nanosecond, group after group."""
        names = [f.name for f in fields(Group)]
        joined = {name: np.concatenate([getattr(group, name) for group in self.taken]) for name in names}
        return {name: tuple(np.round(1e3 * samples, 6).tolist()) for name, samples in joined.items()}

    def _counted(self, group: Group) -> tuple[Samples, Samples]:
        if self.cpu_clock:
            return group.candidate_cpu, group.reference_cpu
        return group.candidate_wall, group.reference_wall

    def _group(self) -> Group:
        """Candidate and reference in turns; which comes first alternates, so that a drift favours neither."""
        candidate, reference = [], []
        for i in range(self.samples):
            if i % 2:
                candidate.append(self._sample(self.candidate, self.candidate_calls))
            reference.append(self._sample(self.reference, self.reference_calls))
            if not i % 2:
                candidate.append(self._sample(self.candidate, self.candidate_calls))
        (c_cpu, c_wall), (r_cpu, r_wall) = np.array(candidate).T, np.array(reference).T
        if min(c_wall.min(), r_wall.min()) <= 0 or (self.cpu_clock and min(c_cpu.min(), r_cpu.min()) < 0):
            raise MeasurementFailed("the clock stood still or ran backwards during a measurement; measure again")
        return Group(c_cpu, c_wall, r_cpu, r_wall)

    def _sample(self, call: Call, calls: int) -> tuple[float, float]:
        """CPU and wall seconds per call."""
        self.synchronize()
        wall, cpu = self.clock.wall(), self.clock.cpu()
        for _ in range(calls):
            call()
        self.synchronize()
        cpu, wall = self.clock.cpu() - cpu, self.clock.wall() - wall
        return cpu / calls, wall / calls


def warm_up(call: Call, synchronize: Callable[[], None], clock: Clock) -> float:
    """Run ``call`` a few times; the shortest wall time in seconds.

    Raises:
        MeasurementFailed: when no time passes.
    """
    shortest = math.inf
    first = clock.wall()
    for i in range(WARM_UP_CALLS):
        start = clock.wall()
        call()
        synchronize()
        shortest = min(shortest, clock.wall() - start)
        if i >= 2 and clock.wall() - first > 1.0:  # a slow call is warm after three
            break
    if shortest <= 0:
        raise MeasurementFailed("a call of the network took no time by the clock: nothing can be measured")
    return shortest


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Suspend garbage collection: within a sample it would count as the network's time."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
