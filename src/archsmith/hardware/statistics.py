"""From raw samples of two interleaved networks to one ratio with an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]
Ratio = Callable[[Samples, Samples], float]
"""``ratio(candidate (n,), reference (n,))``, both in seconds per call."""

TRIMMED_SHARE = 0.2
"""Share of samples left out at either end of a trimmed mean."""
BLOCKS_PER_GROUP = 5
"""Parts of a group; the spread of their ratios shows the noise within it."""
GROUP_TOLERANCE = 0.02
"""Two consecutive groups agree if their ratios differ by at most this share of their mean."""
EVEN_SLOWDOWN = 1.08
"""Up to this many times the reference's time on a quiet machine, other networks are slowed alike (within 1 to 3 %)."""
UNEVEN_SHARE = 0.5
"""Share of the slow-down beyond that which may hit the reference alone: other programs that fill the shared caches and
the memory bus slow networks with larger working sets more."""
MAX_UNEVEN_ERROR = 0.25
"""Largest error from this, as a share of the ratio: a lower clock rate slows all networks alike, however low it is."""
SHORT_CALL_S = 1e-4
"""Calls shorter than this are mostly the runtime's own work, which other programs on the same core slow far more."""
SHORT_UNEVEN_SHARE, SHORT_MAX_UNEVEN_ERROR = 2.0, 0.45
"""``UNEVEN_SHARE`` and ``MAX_UNEVEN_ERROR`` for short calls."""
BUSY_SLOWDOWN = 1.2
"""Short calls are measured again if the reference takes more than this many times its time on a quiet machine."""


def trimmed_mean(samples: Samples) -> float:
    """Mean without the lowest and highest fifth."""
    cut = int(len(samples) * TRIMMED_SHARE)
    return float(np.sort(samples)[cut : len(samples) - cut].mean())


def ratio_of_trimmed_means(candidate: Samples, reference: Samples) -> float:
    """The ratio of CPU times, with one thread."""
    return trimmed_mean(candidate) / trimmed_mean(reference)


def ratio_of_minima(candidate: Samples, reference: Samples) -> float:
    """The ratio of wall times, with several threads: waiting only adds to a time, so the minimum has least of it."""
    return float(candidate.min() / reference.min())


def agree(a: float, b: float) -> bool:
    """Whether two positive ratios differ by at most ``GROUP_TOLERANCE`` of their mean."""
    return abs(a - b) <= GROUP_TOLERANCE * (a + b) / 2


def unequal_slowdown(slowdown: float, *, short: bool = False) -> float:
    """Possible error of a ratio, as a share of it, because a busy machine slows the two networks differently.

    Args:
        slowdown: time of the reference over its time on a quiet machine.
        short: whether the calls are shorter than :data:`SHORT_CALL_S`.
    """
    share, most = (SHORT_UNEVEN_SHARE, SHORT_MAX_UNEVEN_ERROR) if short else (UNEVEN_SHARE, MAX_UNEVEN_ERROR)
    return min(most, share * max(0.0, slowdown - EVEN_SLOWDOWN))


def confidence_interval(
    value: float, groups: Sequence[tuple[Samples, Samples]], ratio: Ratio, *, unequal: float = 0.0
) -> tuple[float, float]:
    """The 95 % interval around ``value``, the ratio over several groups.

    It combines three sources of error. First the spread of the ratios of blocks of consecutive samples, as Student's
    interval; blocks, because noise lasts for several samples. Second what acts on a whole group: groups that agree may
    still be off by about half the tolerance each, which over ``n`` groups is ``GROUP_TOLERANCE / sqrt(n)``. Third
    ``unequal``, which lasts as long as the measurement, so that no repetition shows it. The interval always holds the
    ratios of all groups, because a measurement may have ended early by chance.

    Args:
        value: always in the interval.
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
        for c, r in zip(
            np.array_split(candidate, BLOCKS_PER_GROUP), np.array_split(reference, BLOCKS_PER_GROUP), strict=True
        )
    ]
    error = float(np.std(blocks, ddof=1)) / math.sqrt(len(blocks))
    chance = float(stdtrit(len(blocks) - 1, 0.975)) * error
    half = math.hypot(chance, value * GROUP_TOLERANCE / math.sqrt(len(groups)), value * unequal)
    return max(0.0, min(value - half, *ratios)), max(value + half, *ratios)
