"""What a cost is if it adds up over the parts of a network: a line on its own scale, seen on a warped one."""

from __future__ import annotations

import numpy as np

from archsmith.predictor.ridge import Ridge
from archsmith.strategy._evolution import Floats

FOLDS = 5
TRUSTED = 0.95
"""Share of the variance on the warped scale that left-out costs must show to add up, for the trend to be followed."""
END = 0.2
"""Share of the known values, at either end, whose slope goes on beyond the end."""


class Trend:
    """Ridge regression of raw costs, mapped to the scale on which they are learnt.

    Latency, energy, parameters and MACs add up over the operators, and they do so on their own scale only. The map from
    there to the warped scale is that of the known values, with straight lines between them and beyond.

    Args:
        line: predicts raw costs of encodings ``(k, w)``.
        raw: known costs, ``(n,)``.
        warped: a monotone change of them, ``(n,)``.
    """

    def __init__(self, line: Ridge, raw: Floats, warped: Floats) -> None:
        self._line = line
        self._raw, first = np.unique(raw, return_index=True)
        self._warped = warped[first]
        end = max(1, int(END * len(self._raw)))
        self._slopes = [self._slope(0, end), self._slope(-1 - end, -1)]

    def __call__(self, x: Floats) -> Floats:
        """The warped cost that the line promises, ``(k,)``."""
        raw = self._line.mean(x)
        below, above = np.minimum(raw - self._raw[0], 0.0), np.maximum(raw - self._raw[-1], 0.0)
        inside = np.interp(raw, self._raw, self._warped)
        return np.asarray(inside + self._slopes[0] * below + self._slopes[1] * above)

    def _slope(self, i: int, j: int) -> float:
        if len(self._raw) < 2:
            return 0.0
        return float((self._warped[j] - self._warped[i]) / (self._raw[j] - self._raw[i]))


def is_additive(x: Floats, raw: Floats, warped: Floats) -> bool:
    """Whether left-out costs follow the trend of the others: of encodings ``x (n, w)``, as in :class:`Trend`."""
    spread = float(((warped - warped.mean()) ** 2).sum())
    if len(raw) < 2 * FOLDS or spread == 0:
        return False
    missed, fold = 0.0, np.arange(len(raw)) % FOLDS
    for k in range(FOLDS):
        seen = fold != k
        line = Ridge()
        line.fit(x[seen], raw[seen])
        missed += float(((Trend(line, raw[seen], warped[seen])(x[~seen]) - warped[~seen]) ** 2).sum())
    return missed <= (1 - TRUSTED) * spread
