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
FLOOR = 0.005
"""Half of the narrowest interval, as a share of the ratio: what repeated measurements differ by on a quiet machine."""


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


def agree(a: float, b: float, tolerance: float) -> bool:
    """Whether two positive ratios differ by at most ``tolerance`` of their mean."""
    return abs(a - b) <= tolerance * (a + b) / 2


def interval(groups: Sequence[tuple[Samples, Samples]], ratio: Ratio) -> tuple[float, float, float]:
    """The ratio over several groups with a 95 % interval.

    The value is the mean of the groups' ratios. The interval is Student's over the ratios of consecutive
    blocks, so that noise which lasts for several samples counts as what it is; it is never narrower than
    the range of the groups themselves, nor than ``FLOOR`` to either side. Both guard against chance that
    a few groups cannot show, above all the favourable chance that ends a measurement early.

    Args:
        groups: ``(candidate, reference)`` samples in the order in which they were taken.
        ratio: of one group or block.

    Returns:
        ratio, lower end, upper end.
    """
    from scipy.special import stdtrit

    ratios = [ratio(c, r) for c, r in groups]
    blocks = [
        ratio(c, r)
        for candidate, reference in groups
        for c, r in zip(np.array_split(candidate, BLOCKS), np.array_split(reference, BLOCKS), strict=True)
    ]
    value = float(np.mean(ratios))
    error = float(np.std(blocks, ddof=1)) / math.sqrt(len(blocks))
    half = max(float(stdtrit(len(blocks) - 1, 0.975)) * error, FLOOR * value)
    return value, min(value - half, *ratios), max(value + half, *ratios)
