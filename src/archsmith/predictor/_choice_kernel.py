"""The covariance of the choice Gaussian process: codes and features on one scale, and few passes over the matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import InvalidData
from archsmith.predictor._columns import first_of_equals
from archsmith.predictor._data import Array

FEATURE = -1
"""The group of columns that are real features and not codes of choices."""
ROOT5 = float(np.sqrt(5.0))
Reals = NDArray[np.floating[Any]]  # single precision where there are many


@dataclass(frozen=True)
class Data:
    """``codes (n, d)`` as they are and ``centred``, standardised ``features (n, f)``, the choice of each code."""

    codes: Reals
    centred: Reals
    features: Reals
    index: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.codes)

    def single(self) -> Data:
        """The same in single precision."""
        codes, centred, features = (part.astype(np.float32) for part in (self.codes, self.centred, self.features))
        return Data(codes, centred, features, self.index)

    @property
    def choices(self) -> int:
        """How many there are."""
        return int(self.index.max(initial=-1)) + 1


class Frame:
    """Encodings that processes learn from, and the scale that they set for all others.

    Args:
        x: encodings, ``(n, w)`` with ``n >= 1``, NaN where a feature is not known.
        groups: for each column the number of its choice, or :data:`FEATURE`.

    Raises:
        InvalidData: for another number of columns, or infinite numbers.
    """

    def __init__(self, x: Array, groups: NDArray[np.intp]) -> None:
        x = np.asarray(x, dtype=float)
        if x.ndim != 2 or not len(x) or x.shape[1] != len(groups):
            raise InvalidData(f"groups names {len(groups)} columns, the encodings are {x.shape}; give one a column")
        if np.isinf(x).any():
            raise InvalidData("encodings hold infinite numbers; only NaN, for what is not known, may stand in them")
        self._codes, self._features = np.flatnonzero(groups != FEATURE), np.flatnonzero(groups == FEATURE)
        self._index = np.unique(groups[self._codes], return_inverse=True)[1]
        gaps = np.isnan(x[:, self._features])
        self._gaps = first_of_equals(gaps) if gaps.any() else np.zeros(0, dtype=np.intp)
        codes, features = x[:, self._codes], self._marked(x)
        self._code_centre = codes.mean(axis=0)
        self._code_scale = float(np.sqrt(((codes - self._code_centre) ** 2).sum(axis=1).mean())) or 1.0
        known = ~np.isnan(features)
        self._centre = np.where(known, features, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        deviation = np.where(known, features - self._centre, 0.0).std(axis=0)
        self._scale = np.where(deviation > 1e-9, deviation, np.inf) * np.sqrt(max(1, (deviation > 1e-9).sum()))
        self.known = self.of(x)
        self.single = self.known.single()
        self._right = _right(self.single.features)

    def __len__(self) -> int:
        return len(self.known)

    def of(self, x: Reals) -> Data:
        """Encodings ``(k, w)`` on the scale of those learnt from, in their own precision."""
        codes, features = x[:, self._codes], self._marked(x)
        centred = (codes - self._code_centre.astype(x.dtype)) / x.dtype.type(self._code_scale)
        scaled = (features - self._centre.astype(x.dtype)) / self._scale.astype(x.dtype)
        np.nan_to_num(scaled, copy=False)
        return Data(codes, centred, scaled, self._index)

    def apart(self, data: Data) -> Reals:
        """Distances of features of ``data (k,)`` from those learnt from, ``(k, n)``, in single precision."""
        return _root(_left(data.features) @ self._right.T)

    @cached_property
    def known_apart(self) -> Array:
        """Distances of the features learnt from among each other, ``(n, n)``."""
        return np.sqrt(distances(self.known.features, self.known.features))

    @cached_property
    def products(self) -> tuple[Array, Array]:
        """Inner products of codes and of features learnt from, ``(n, n)`` each."""
        known = self.known
        return known.centred @ known.centred.T, known.features @ known.features.T

    def _marked(self, x: Reals) -> Reals:
        """The feature columns, and one that marks each pattern of gaps."""
        features = x[:, self._features]
        if not len(self._gaps):
            return features
        return np.concatenate([features, np.isnan(features[:, self._gaps])], axis=1, dtype=x.dtype)


class Covariance:
    """Covariances with encodings that were learnt from, prepared once for many others.

    Args:
        data: learnt from, ``n`` of them.
        p: hyper-parameters: four variances, the feature length, a weight a choice, the noise.
    """

    def __init__(self, data: Data, p: Array) -> None:
        kind = data.codes.dtype.type
        self._additive, self._product, self._matern, self._trend = (kind(v) for v in p[:4])
        self._length = kind(p[4])
        self._roots = np.sqrt(p[5:-1])[data.index].astype(kind)
        self._codes = _right(data.codes * self._roots)
        self._lines = self._scaled(data)

    def __call__(self, data: Data, apart: Reals | None = None) -> Reals:
        """Covariances ``(k, n)`` in the precision of the data.

        Args:
            data: ``k`` encodings of the same frame.
            apart: distances of their features from those learnt from, ``(k, n)``; ``None`` where there are none.
        """
        left = _left(data.codes * self._roots)
        np.negative(left, out=left)
        left[:, -1] += np.log(self._product)  # the variance, as a part of the exponent
        total: Reals = left @ self._codes.T
        np.minimum(total, np.log(self._product), out=total)  # of rounding
        np.exp(total, out=total)
        if apart is not None:
            far = apart * (total.dtype.type(-ROOT5) / self._length)
            part = far * (self._matern / 3)
            part -= self._matern
            part *= far
            part += self._matern
            part *= np.exp(far, out=far)
            total += part
        total += self._scaled(data) @ self._lines.T
        return total

    def diagonal(self, data: Data) -> Reals:
        """Variances of ``k`` encodings, ``(k,)``."""
        lines = self._scaled(data)
        matern = self._matern if data.features.shape[1] else 0.0
        return np.asarray(np.einsum("ij,ij->i", lines, lines) + self._product + matern)

    def _scaled(self, data: Data) -> Reals:
        """What is linear in the codes and in the features, side by side."""
        parts = [np.sqrt(self._additive) * data.centred]
        parts += [np.sqrt(self._trend) * data.features] if data.features.shape[1] else []
        return np.concatenate(parts, axis=1)


def distances(a: Reals, b: Reals) -> Reals:
    """Squared Euclidean distances of ``a (k, d)`` from ``b (n, d)``, ``(k, n)``."""
    squares: Reals = _left(a) @ _right(b).T
    return np.maximum(squares, 0.0, out=squares)


def _left(a: Reals) -> Reals:
    """``_left(a) @ _right(b).T`` are the squared distances: one product of matrices, no pass over the result."""
    return np.concatenate([a, np.ones((len(a), 1), a.dtype), np.einsum("ij,ij->i", a, a)[:, None]], axis=1)


def _right(b: Reals) -> Reals:
    return np.concatenate([-2 * b, np.einsum("ij,ij->i", b, b)[:, None], np.ones((len(b), 1), b.dtype)], axis=1)


def _root(squares: Reals) -> Reals:
    """Distances from their squares, in place."""
    np.maximum(squares, 0.0, out=squares)
    return np.asarray(np.sqrt(squares, out=squares))
