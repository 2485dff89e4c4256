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
ALIKE = 1.08
"""Up to so many times its quiet time, whatever slows the reference slows other networks alike (within 1 to 3 %)."""
UNEQUAL = 0.5
"""Beyond that, the share of the slow-down that may be the reference's alone: neighbours that fill the shared caches
and the memory bus slow networks by as much as their working sets differ."""
UNEQUAL_MOST = 0.25
"""But not more: a processor at a lower clock rate slows all networks alike, however low it is."""
SHORT_S = 1e-4
"""Calls shorter than this are mostly the runtime's own work, which a neighbour on the same core slows far more."""
UNEQUAL_SHORT, UNEQUAL_SHORT_MOST = 2.0, 0.45
"""The same two for them."""
BUSY = 1.2
"""Times its quiet time that the reference takes, from which on such calls are measured again."""


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


def unequal_slowdown(slowdown: float, *, short: bool = False) -> float:
    """How far off a ratio may be, as a share of it, when the reference takes ``slowdown`` times its quiet time.

    Args:
        slowdown: 1 on a quiet machine.
        short: whether the calls are shorter than :data:`SHORT_S`.
    """
    share, most = (UNEQUAL_SHORT, UNEQUAL_SHORT_MOST) if short else (UNEQUAL, UNEQUAL_MOST)
    return min(most, share * max(0.0, slowdown - ALIKE))


def confidence_interval(
    value: float, groups: Sequence[tuple[Samples, Samples]], ratio: Ratio, *, unequal: float = 0.0
) -> tuple[float, float]:
    """The 95 % interval around ``value``, the ratio over several groups.

    It joins three sources of error: what the ratios of consecutive blocks show (Student's interval, so that
    noise which lasts for several samples counts as what it is); what they cannot show, because it acts
    on a group as a whole: groups that agree leave room for an effect of about half the tolerance on each,
    which over ``n`` groups is ``TOLERANCE / sqrt(n)``; and ``unequal``, because no repetition shows what lasts
    as long as the measurement itself. The interval is never narrower than the range of the
    groups, against the favourable chance that ends a measurement early.

    Args:
        value: lies in the interval, whatever the groups say.
        groups: ``(candidate, reference)`` samples in the order in which they were taken.
        ratio: of one group or block.
        unequal: error as a share of ``value``, from :func:`unequal_slowdown`.

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
    chance = float(stdtrit(len(blocks) - 1, 0.975)) * error
    half = math.hypot(chance, value * TOLERANCE / math.sqrt(len(groups)), value * unequal)
    return max(0.0, min(value - half, *ratios)), max(value + half, *ratios)
