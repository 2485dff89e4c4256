"""Encodings made fit for predictors that measure distances: gaps filled, scales equalled, tails shortened."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archsmith.predictor._data import Array, normal_scores

COUNTED_VALUES = 8
"""A column with more than so many different values is a measured quantity, one with fewer counts something."""


class Columns:
    """Learns from ``x (n, d)`` how to prepare encodings; every call prepares others in the same way.

    A missing value becomes the mean of its column, and each pattern of gaps that occurs in ``x`` gets a column that
    marks it. Columns of zeros and ones are codes and stay as they are; others are centred and scaled to unit variance.
    With none of that to do, encodings come back unchanged.

    Args:
        x: the encodings to learn from, NaN where a value is missing.
        scores: first replace measured quantities (not codes or counts) by the normal scores of their ranks in ``x``,
            interpolated: proxies span many orders of magnitude.
    """

    def __init__(self, x: Array, *, scores: bool = False) -> None:
        gaps = np.isnan(x)
        self._gaps = first_of_equals(gaps) if gaps.any() else np.zeros(0, dtype=np.intp)
        self._scales: list[tuple[int, Array, Array]] = []
        known = [column[~gap] for column, gap in zip(x.T, gaps.T, strict=True)]
        codes = np.array([bool(((values == 0) | (values == 1)).all()) for values in known], dtype=bool)
        if scores:
            for j in np.flatnonzero(~codes):
                values = np.unique(known[j])
                if len(values) > COUNTED_VALUES:
                    places = np.searchsorted(values, known[j])
                    score_of = normal_scores(known[j])
                    scores_of_values = np.zeros(len(values))
                    scores_of_values[places] = score_of
                    self._scales.append((int(j), values, scores_of_values))
        drawn = self._drawn_in(x)
        with np.errstate(invalid="ignore"):
            counts = np.maximum((~gaps).sum(axis=0), 1)
            self._mean = np.where(gaps, 0.0, drawn).sum(axis=0) / counts
            deviation = np.sqrt(np.where(gaps, 0.0, (drawn - self._mean) ** 2).sum(axis=0) / counts)
        self._shift = np.where(codes, 0.0, self._mean)
        self._scale = np.where(codes, 1.0, np.where(deviation > 1e-12 * np.abs(self._mean), deviation, np.inf))

    def __call__(self, x: Array) -> Array:
        """``x (n, d)`` prepared, ``(n, d + patterns)``."""
        gaps = np.isnan(x)
        filled = np.where(gaps, self._mean, self._drawn_in(x))
        return np.concatenate([(filled - self._shift) / self._scale, gaps[:, self._gaps]], axis=1)

    def _drawn_in(self, x: Array) -> Array:
        if not self._scales:
            return x
        drawn = x.copy()
        for j, values, scores in self._scales:
            drawn[:, j] = np.interp(x[:, j], values, scores)
        return drawn


def first_of_equals(gaps: NDArray[np.bool_]) -> NDArray[np.intp]:
    """One column of each pattern that is neither all gaps nor none, in order."""
    patterns, first = np.unique(gaps, axis=1, return_index=True)
    mixed = patterns.any(axis=0) & ~patterns.all(axis=0)
    return np.sort(first[mixed])
