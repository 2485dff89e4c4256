"""What predictors read of rows: an encoding, and what is known for free, on one scale and without holes."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np

from archsmith.encoding.base import Encoding
from archsmith.errors import InvalidOption
from archsmith.method import load, make
from archsmith.predictor.base import Predictor
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.kit.variation import Floats, Rows


def encoding_of(space: ChoiceSpace, spec: str | Encoding) -> Encoding:
    """The encoding ``spec`` of ``space``, by name or as it is.

    Raises:
        UnknownName: for an unknown name.
    """
    found: Encoding = make("encoding", spec, space)
    return found


def maker(spec: str | Predictor) -> Callable[[], Predictor]:
    """Gives new predictors: of the method of that name, or copies of an instance with all that it knows already.

    Raises:
        InvalidOption: for something else.
        UnknownName: for an unknown name.
    """
    if isinstance(spec, Predictor):
        return lambda: copy.deepcopy(spec)
    if not isinstance(spec, str):
        raise InvalidOption(f"predictor={spec!r} is neither a name nor a predictor")
    method: Callable[[], Predictor] = load("predictor", spec)
    return method


class Inputs:
    """Rows to the vectors that predictors learn from and predict.

    The columns of ``free`` are scaled to mean 0 and variance 1 over the rows learnt from, because their units
    have nothing to do with those of the encoding. A value that is not known becomes the mean, and a column beside it
    marks it: which values are missing is information (proxies are null on cells with dead operations).

    Args:
        encoding: of all rows.
        free: what is known before anything is measured, or ``None``.
        rows: learnt from, ``(n, choices)`` with ``n >= 1``.
    """

    def __init__(self, encoding: Encoding, free: Encoding | None, rows: Rows) -> None:
        self._encoding, self._free = encoding, free
        self._plain = _Filled(self._floats(encoding, rows), scaled=False)
        self._known = None if free is None else _Filled(self._floats(free, rows), scaled=True)

    def __call__(self, rows: Rows) -> Floats:
        """Vectors ``(k, d)``, all finite."""
        vectors = self._plain(self._floats(self._encoding, rows))
        if self._free is None or self._known is None:
            return vectors
        return np.concatenate([vectors, self._known(self._floats(self._free, rows))], axis=1)

    @staticmethod
    def _floats(encoding: Encoding, rows: Rows) -> Floats:
        return np.asarray(encoding.encode(rows), dtype=float)


class _Filled:
    """Fills holes by the means of the vectors ``(n, d)`` learnt from."""

    def __init__(self, vectors: Floats, *, scaled: bool) -> None:
        known = np.isfinite(vectors)
        counts = np.maximum(1, known.sum(axis=0))
        self._mean = np.where(known, vectors, 0.0).sum(axis=0) / counts
        spread = np.sqrt((np.where(known, vectors - self._mean, 0.0) ** 2).sum(axis=0) / counts)
        self._scale = np.where(spread > 0, spread, 1.0) if scaled else np.ones(vectors.shape[1])
        self._shift = self._mean if scaled else np.zeros(vectors.shape[1])
        self._holed = np.flatnonzero(~known.all(axis=0))

    def __call__(self, vectors: Floats) -> Floats:
        known = np.isfinite(vectors)
        filled = (np.where(known, vectors, self._mean) - self._shift) / self._scale
        return np.concatenate([filled, ~known[:, self._holed]], axis=1) if self._holed.size else filled
