"""From raw samples of two interleaved networks to one ratio with an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]
Ratio = Callable[[Samples, Samples], float]
"""``ratio(candidate (n,), reference (n,))``, both in seconds per call."""

TRIM = 0.2
"""Share of samples left out at either end of a trimmed mean."""
BLOCKS = 5
"""Parts of a group whose ratios tell how much chance there is in it."""
TOLERANCE = 0.02
"""Two consecutive groups whose ratios differ by no more of their mean agree."""


def trimmed_mean(samples: Samples) -> float:
    """Mean without the lowest and highest fifth."""
    cut = int(len(samples) * TRIM)
    return float(np.sort(samples)[cut : len(samples) - cut].mean())


def ratio_of_trimmed_means(candidate: Samples, reference: Samples) -> float:
    """For CPU time at one thread."""
    return trimmed_mean(candidate) / trimmed_mean(reference)


def ratio_of_minima(candidate: Samples, reference: Samples) -> float:
    """For wall time at several threads, where waiting is part of the time but is never negative."""
    return float(candidate.min() / reference.min())


def agree(a: float, b: float) -> bool:
    """Whether two positive ratios differ by at most ``TOLERANCE`` of their mean."""
    return abs(a - b) <= TOLERANCE * (a + b) / 2


def interval(value: float, groups: Sequence[tuple[Samples, Samples]], ratio: Ratio) -> tuple[float, float]:
    """The 95 % interval around ``value``, the ratio over several groups.

    It joins two sources of chance: what the ratios of consecutive blocks show (Student's interval, so that
    noise which lasts for several samples counts as what it is), and what they cannot show, because it acts
    on a group as a whole: groups that agree leave room for an effect of about half the tolerance on each,
    which over ``n`` groups is ``TOLERANCE / sqrt(n)``. The interval is never narrower than the range of the
    groups, against the favourable chance that ends a measurement early.

    Args:
        value: lies in the interval, whatever the groups say.
        groups: ``(candidate, reference)`` samples in the order in which they were taken.
        ratio: of one group or block.

    Returns:
        lower end (not below 0), upper end.
    """
    from scipy.special import stdtrit

    ratios = [ratio(c, r) for c, r in groups]
    blocks = [
        ratio(c, r)
        for candidate, reference in groups
        for c, r in zip(np.array_split(candidate, BLOCKS), np.array_split(reference, BLOCKS), strict=True)
    ]
    error = float(np.std(blocks, ddof=1)) / math.sqrt(len(blocks))
    half = math.hypot(float(stdtrit(len(blocks) - 1, 0.975)) * error, value * TOLERANCE / math.sqrt(len(groups)))
    return max(0.0, min(value - half, *ratios)), max(value + half, *ratios)
