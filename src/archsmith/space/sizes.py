"""How many architectures a space holds: exactly if possible, otherwise an estimate with an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """A number of architectures.

    Args:
        value: the number, or its estimate.
        exact: whether it was counted rather than estimated.
        low: lower end of the 95 % interval; ``value`` where exact.
        high: upper end; ``value`` where exact.

    >>> str(Size.counted(1500)), str(Size.estimated(share=0.25, draws=1000, of=10**12))
    ('1,500 architectures', 'about 2.50e+11 architectures (estimated, 95 % interval 2.24e+11 to 2.77e+11)')
    """

    value: int
    exact: bool
    low: int
    high: int

    @classmethod
    def counted(cls, value: int) -> Size:
        """An exact number."""
        return cls(value, exact=True, low=value, high=value)

    @classmethod
    def estimated(cls, *, share: float, draws: int, of: int) -> Size:
        """From the ``share`` of random draws ``of`` a known number that were counted; Wilson's interval (1927)."""
        z = 1.959963984540054
        middle = share + z**2 / (2 * draws)
        spread = z * math.sqrt(share * (1 - share) / draws + z**2 / (4 * draws**2))
        low, high = ((middle + sign * spread) / (1 + z**2 / draws) for sign in (-1, 1))
        return cls(_part(share, of), exact=False, low=_part(max(0.0, low), of), high=_part(min(1.0, high), of))

    def __str__(self) -> str:
        if self.exact:
            return f"{_readable(self.value)} architecture{'' if self.value == 1 else 's'}"
        interval = f"{_readable(self.low)} to {_readable(self.high)}"
        return f"about {_readable(self.value)} architectures (estimated, 95 % interval {interval})"


def _part(share: float, of: int) -> int:
    """``share * of`` for numbers beyond any float."""
    return of * round(share * 2**60) // 2**60


def _readable(n: int) -> str:
    if n < 10**9:
        return f"{n:,}"
    exponent = int(math.log10(n))  # Python writes no number of more than 4300 digits
    exponent += (n >= 10 ** (exponent + 1)) - (n < 10**exponent)  # where the logarithm was rounded over the edge
    return f"{n // 10 ** (exponent - 2) / 100:.2f}e+{exponent}"
