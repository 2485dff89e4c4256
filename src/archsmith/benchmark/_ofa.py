"""Once-for-All's MobileNetV3: exact counts of a network, and a Gaussian process of its accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

STAGES, MOST_BLOCKS = 5, 4
BLOCKS = STAGES * MOST_BLOCKS
KERNELS, EXPANSIONS, DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)

_IMAGE, _CLASSES = 224, 1000
_WIDTHS = (16, 24, 40, 80, 112, 160)  # of the fixed first block and of each stage
_STRIDES = (2, 2, 2, 1, 2)
_SQUEEZE_EXCITE = (False, True, False, True, True)  # squeeze and excitation
_HEAD = (960, 1280)

# Hyper-parameters of the Gaussian process, rounded, where the marginal likelihood of 400 of the measured networks
# drawn at random is greatest: squared length-scales of kernels, expansions and depths, variances, noise.
_SCALES = (1200.0, 240.0, 33.0)
_VARIANCE = 0.95
_LINEAR_VARIANCES = (0.0032, 0.106)  # of expansions and depths
_NOISE = 7.2e-4
_FOLDS = 10
_PREDICTED_AT_ONCE = 512


@dataclass(frozen=True)
class Blocks:
    """Networks as arrays ``(n, 20)``: index of kernel and expansion of each block, and whether it exists."""

    kernels: NDArray[Any]
    expansions: NDArray[Any]
    active: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.kernels)

    def __getitem__(self, which: Any) -> Blocks:
        return Blocks(self.kernels[which], self.expansions[which], self.active[which])

    def counts(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Parameters and multiply-adds, ``(n,)`` each; exact."""
        fixed, table = _costs()
        each = table[np.arange(BLOCKS), self.kernels, self.expansions]  # (n, 20, 2)
        found = fixed + (each * self.active[:, :, None]).sum(axis=1)
        return found[:, 0].astype(np.float64), found[:, 1].astype(np.float64)

    @cached_property
    def features(self) -> list[NDArray[np.float64]]:
        """Indicators of kernels and expansions of the blocks that exist, and of the blocks that may be absent."""
        kernels, expansions = (
            ((option[:, :, None] == np.arange(3)) & self.active[:, :, None]).reshape(len(self), -1).astype(np.float64)
            for option in (self.kernels, self.expansions)
        )
        optional = np.arange(BLOCKS) % MOST_BLOCKS >= DEPTHS[0]
        return [kernels, expansions, self.active[:, optional].astype(np.float64)]


@cache
def _costs() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Parameters and multiply-adds of the fixed parts ``(2,)``, and of each block's options ``(20, 3, 3, 2)``.

    A convolution without bias and two numbers a channel for the batch norm after it; two biased fully connected
    layers in squeeze and excitation; norms, activations and pooling count no multiply-adds.
    """
    size = _IMAGE // 2
    stem = _convolution(3, _WIDTHS[0], 3, size) + _depthwise(_WIDTHS[0], 3, size)
    stem = stem + _convolution(_WIDTHS[0], _WIDTHS[0], 1, size)
    table = np.zeros((BLOCKS, 3, 3, 2), dtype=np.int64)
    for stage in range(STAGES):
        for j in range(MOST_BLOCKS):
            width, stride = _WIDTHS[stage + (j > 0)], _STRIDES[stage] if j == 0 else 1
            for k, kernel in enumerate(KERNELS):
                for e, expansion in enumerate(EXPANSIONS):
                    middle = _rounded(width * expansion)
                    cost = _convolution(width, middle, 1, size) + _depthwise(middle, kernel, size // stride)
                    cost = cost + _convolution(middle, _WIDTHS[stage + 1], 1, size // stride)
                    if _SQUEEZE_EXCITE[stage]:
                        inner = _rounded(middle // 4)
                        cost = cost + np.array([2 * middle * inner + inner + middle, 2 * middle * inner])
                    table[stage * MOST_BLOCKS + j, k, e] = cost
            size //= stride
    head = _convolution(_WIDTHS[-1], _HEAD[0], 1, size)
    dense = _HEAD[0] * _HEAD[1], _HEAD[1] * _CLASSES
    head = head + np.array([sum(dense) + _CLASSES, sum(dense)])
    return stem + head, table


def _convolution(inputs: int, outputs: int, kernel: int, size: int) -> NDArray[np.int64]:
    weights = inputs * outputs * kernel**2
    return np.array([weights + 2 * outputs, weights * size**2])


def _depthwise(channels: int, kernel: int, size: int) -> NDArray[np.int64]:
    weights = channels * kernel**2
    return np.array([weights + 2 * channels, weights * size**2])


def _rounded(channels: int) -> int:
    """The nearest multiple of 8 that is not more than a tenth below."""
    found = max(8, (channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found


@dataclass(frozen=True)
class Surrogate:
    """A Gaussian process's mean, given ``n`` measured networks.

    Args:
        measured: the networks it was fitted on.
        weights: of each of them, ``(n,)``.
        mean: of their values.
    """

    measured: Blocks
    weights: NDArray[np.float64]
    mean: float

    @classmethod
    def fit(cls, blocks: Blocks, values: NDArray[np.float64]) -> Surrogate:
        """Condition on ``values (n,)``."""
        mean = float(values.mean())
        return cls(blocks, _weights(_covariance(blocks, blocks), values - mean), mean)

    def predict(self, blocks: Blocks) -> NDArray[np.float64]:
        """Expected values, ``(n,)``."""
        parts = [
            _covariance(blocks[start : start + _PREDICTED_AT_ONCE], self.measured) @ self.weights
            for start in range(0, len(blocks), _PREDICTED_AT_ONCE)
        ]
        return np.concatenate([np.zeros(0), *parts]) + self.mean


def _covariance(a: Blocks, b: Blocks) -> NDArray[np.float64]:
    distance = np.zeros((len(a), len(b)))
    linear = np.zeros((len(a), len(b)))
    for x, y, scale, slope in zip(a.features, b.features, _SCALES, (0.0, *_LINEAR_VARIANCES), strict=True):
        shared = x @ y.T
        distance += ((x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * shared) / scale
        linear += slope * shared
    covariance: NDArray[np.float64] = _VARIANCE * np.exp(-distance) + linear
    return covariance


def _weights(covariance: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    noisy = covariance + _NOISE * np.eye(len(values))
    weights: NDArray[np.float64] = cho_solve(cho_factor(noisy, lower=True, overwrite_a=True), values)
    return weights


def validated(
    blocks: Blocks, values: NDArray[np.float64], runs: NDArray[Any], order: NDArray[np.float64]
) -> dict[str, Any]:
    """Errors on networks that were left out: in ten folds, and each run predicted from the other, which is harder.

    ``first_50`` are the first networks of each run, which are the least biased towards the front.
    """
    folds = np.array_split(np.random.default_rng(0).permutation(len(blocks)), _FOLDS)
    ten = _left_out(blocks, values, folds)
    early = order <= 50
    found = {"cross_validated": _errors(values, ten), "cross_validated_first_50": _errors(values[early], ten[early])}
    if len(names := np.unique(runs)) > 1:
        other = _left_out(blocks, values, [np.flatnonzero(runs == name) for name in names])
        found["other_run"] = _errors(values, other)
    return found


def _left_out(blocks: Blocks, values: NDArray[np.float64], folds: list[NDArray[np.intp]]) -> NDArray[np.float64]:
    covariance, predicted = _covariance(blocks, blocks), np.empty(len(blocks))
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(blocks)), fold)
        mean = values[rest].mean()
        weights = _weights(covariance[np.ix_(rest, rest)], values[rest] - mean)
        predicted[fold] = covariance[np.ix_(fold, rest)] @ weights + mean
    return predicted


def _errors(values: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float]:
    from scipy.stats import kendalltau, spearmanr

    error = predicted - values
    return {
        "rmse": round(float(np.sqrt(np.mean(error**2))), 4),
        "mae": round(float(np.abs(error).mean()), 4),
        "largest": round(float(np.abs(error).max()), 4),
        "kendall_tau": round(float(kendalltau(predicted, values).statistic), 4),
        "spearman_rho": round(float(spearmanr(predicted, values).statistic), 4),
        "networks": len(values),
    }
