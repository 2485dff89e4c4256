"""Costs that add up over the parts of a network: a line on their own scale, mapped to a warped one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from archsmith.predictor.ridge import Ridge
from archsmith.strategy.kit.variation import Floats

LINE_FOLDS = 5
LARGEST_MISS = 0.05
"""Share of the variance, on the warped scale, that the error of left-out costs may have for a line to be followed."""
END_SHARE = 0.2
"""Share of the known values, at either end, whose slope goes on beyond the end."""
LEAST_COST_SHARE = 0.5
"""Share of the least known cost below which no prediction lies."""


class Line(Protocol):
    """Predicts raw costs."""

    def fit(self, x: Floats, y: Floats) -> None:
        """Learn from encodings ``x (n, w)`` and costs ``y (n,)``."""

    def mean(self, x: Floats) -> Floats:
        """The cost of encodings ``(k, w)``, ``(k,)``."""


class Counts:
    """Costs as a sum over how often each option is taken, none negative, by least squares of the relative error.

    Latencies span factors of hundreds: on their own scale the slow networks decide every squared error, on a
    logarithm nothing adds up. Alike choices share what their options cost, and no option makes a network cheaper than
    nothing, so that a dozen networks tell what the rarest combinations cost.

    Args:
        alike: for each column of the encodings the number of its count, -1 for none, ``(w,)``.
    """

    def __init__(self, alike: NDArray[np.intp]) -> None:
        self._sums = np.zeros((len(alike), int(alike.max(initial=-1)) + 1))
        self._sums[alike >= 0, alike[alike >= 0]] = 1

    def fit(self, x: Floats, y: Floats) -> None:
        """Learn from encodings ``x (n, w)`` and positive costs ``y (n,)``."""
        from scipy.optimize import nnls

        self._weights = nnls(self._counts(x) / y[:, None], np.ones(len(y)))[0]
        self._floor = LEAST_COST_SHARE * float(y.min())

    def mean(self, x: Floats) -> Floats:
        """The cost of encodings ``(k, w)``, ``(k,)``."""
        return np.asarray(np.maximum(self._counts(x) @ self._weights, self._floor))

    def _counts(self, x: Floats) -> Floats:
        return np.column_stack([np.ones(len(x)), np.asarray(x, dtype=float) @ self._sums])


class Trend:
    """A line of raw costs, mapped to the scale on which they are learnt.

    Latency, energy, parameters and MACs add up over the operators, and they do so on their own scale only. The map from
    there to the warped scale is that of the known values, with straight lines between them and beyond.

    Args:
        line: predicts raw costs of encodings ``(k, w)``.
        raw: known costs, ``(n,)``.
        warped: a monotone change of them, ``(n,)``.
    """

    def __init__(self, line: Line, raw: Floats, warped: Floats) -> None:
        self._line = line
        self._raw, first = np.unique(raw, return_index=True)
        self._warped = warped[first]
        end = max(1, int(END_SHARE * len(self._raw)))
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


def best_line(
    x: Floats, raw: Floats, warped: Floats, alike: NDArray[np.intp], alone: Callable[[], float]
) -> Line | None:
    """The line that costs follow, fitted; ``None`` where they follow none.

    Args:
        x: encodings, ``(n, w)``.
        raw: costs, ``(n,)``.
        warped: a monotone change of them, ``(n,)``.
        alike: of :class:`Counts`.
        alone: gives the mean squared error, on the warped scale, of what is used without a line.
    """
    spread = float(warped.var())
    line: Line = Ridge()
    if missed(line, x, raw, warped) > LARGEST_MISS * spread:
        line = Counts(alike)
        if not raw.min() > 0 or missed(line, x, raw, warped) > min(alone(), spread):
            return None
    line.fit(x, raw)
    return line


def missed(line: Line, x: Floats, raw: Floats, warped: Floats) -> float:
    """Mean squared error of left-out costs on the warped scale; infinite where there are too few, or all are equal."""
    if len(raw) < 2 * LINE_FOLDS or not warped.var() > 0:
        return np.inf
    total, fold = 0.0, np.arange(len(raw)) % LINE_FOLDS
    for k in range(LINE_FOLDS):
        seen = fold != k
        line.fit(x[seen], raw[seen])
        total += float(((Trend(line, raw[seen], warped[seen])(x[~seen]) - warped[~seen]) ** 2).sum())
    return total / len(raw)
