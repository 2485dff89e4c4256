"""How good a predictor is: rank correlations, and cross-validation that lets nothing leak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from archsmith.errors import InvalidData, InvalidOption
from archsmith.predictor._data import Array, checked
from archsmith.predictor.base import Predictor


def kendall_tau(predicted: Array, true: Array) -> float:
    """Kendall's tau-b of two lists ``(n,)``: 1 for the same order, -1 for the reverse, 0 where either is constant.

    Raises:
        InvalidData: for lists of different length, fewer than two numbers, or numbers that are not finite.
    """
    from scipy.stats import kendalltau

    return _correlation(kendalltau, predicted, true)


def spearman_rho(predicted: Array, true: Array) -> float:
    """Spearman's rho of two lists ``(n,)``: the correlation of their ranks; 0 where either is constant.

    Raises:
        InvalidData: for lists of different length, fewer than two numbers, or numbers that are not finite.
    """
    from scipy.stats import spearmanr

    return _correlation(spearmanr, predicted, true)


def _correlation(measure: Callable[..., tuple[float, float]], predicted: Array, true: Array) -> float:
    a, b = np.asarray(predicted, dtype=float), np.asarray(true, dtype=float)
    if a.ndim != 1 or a.shape != b.shape or len(a) < 2:
        raise InvalidData(
            f"ranks are compared of two lists of the same length, at least 2; got {a.shape} and {b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InvalidData("ranks are compared of finite numbers only; leave failed evaluations out")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(measure(a, b)[0])


@dataclass(frozen=True)
class CrossValidation:
    """Predictions of pairs that the predictor had not seen.

    Args:
        mean: predicted of each pair by the model that did not learn from it, ``(n,)``.
        std: of that prediction, ``(n,)``.
        fold: the fold that each pair was left out in, ``(n,)``.
        kendall_tau: mean over the folds.
        spearman_rho: mean over the folds.
        rmse: root mean square error over all pairs, in the unit of the values.
        covered: share of the pairs whose value lies within two standard deviations; about 0.95 where they are right.
    """

    mean: Array
    std: Array
    fold: Array
    kendall_tau: float
    spearman_rho: float
    rmse: float
    covered: float


def cross_validate(
    make: Callable[[], Predictor], x: Array, y: Array, *, folds: int = 5, rng: np.random.Generator
) -> CrossValidation:
    """Judge a predictor on pairs that it has not seen.

    Every fold is predicted by a new predictor that learnt from the other folds only; whatever it learns about its
    columns (means for missing values, scales) it learns from those too. Rank correlations are taken in each fold
    and averaged, because predictions of different models are not on one scale.

    Args:
        make: gives an unfitted predictor.
        x: encodings ``(n, d)``, NaN where a value is missing.
        y: finite values ``(n,)``.
        folds: from 2 to half the number of pairs.
        rng: deals the pairs out to the folds.

    Raises:
        InvalidData: for fewer than four pairs, or numbers that cannot be learnt from.
        InvalidOption: for another number of folds.
    """
    x, y = checked(x, y, missing=True)
    if len(x) < 4:
        raise InvalidData(f"{len(x)} pairs cannot be cross-validated; give at least 4")
    if not 2 <= folds <= len(x) // 2:
        raise InvalidOption(f"folds={folds} of {len(x)} pairs: give 2 to {len(x) // 2}, so that each holds two pairs")
    fold = rng.permutation(np.arange(len(x)) % folds)
    mean, std = np.zeros(len(x)), np.zeros(len(x))
    for k in range(folds):
        out = fold == k
        predictor = make()
        predictor.fit(x[~out], y[~out])
        mean[out], std[out] = predictor.predict(x[out])
    pairs = [(mean[fold == k], y[fold == k]) for k in range(folds)]
    return CrossValidation(
        mean,
        std,
        fold,
        float(np.mean([kendall_tau(*pair) for pair in pairs])),
        float(np.mean([spearman_rho(*pair) for pair in pairs])),
        float(np.sqrt(np.mean((mean - y) ** 2))),
        float(np.mean(np.abs(mean - y) <= 2 * std)),
    )
