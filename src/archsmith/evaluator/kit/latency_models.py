"""Models of latency, fitted on a few networks that were measured as a whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import stdtrit

from archsmith.predictor.choice_gaussian_process import ChoiceGaussianProcess

Array = NDArray[np.float64]
MIN_DEVIATION = 1e-2
"""Smallest relative standard deviation of a predicted latency: that of repeated measurements."""
MOST_FOLDS = 8
"""Most folds of the cross-validation."""


@dataclass(frozen=True)
class Known:
    """Values of ``n`` networks that are known without measuring them as a whole.

    Args:
        codes: of the choices, ``(n, d)``, as :class:`~archsmith.encoding.thermometer.Thermometer` gives them.
        groups: the number of the choice of each column, ``(d,)``.
        counts: sums of the codes of alike choices, ``(n, c)``.
        sums: in milliseconds, sums over blocks or operators measured one by one, or latencies on other devices,
            ``(n, s)``.
        blocks: numbers of blocks or operators, ``(n,)``.
    """

    codes: Array
    groups: NDArray[np.intp]
    counts: Array
    sums: Array
    blocks: Array

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: NDArray[np.intp] | slice) -> Known:
        return Known(self.codes[rows], self.groups, self.counts[rows], self.sums[rows], self.blocks[rows])


class LatencyModel(Protocol):
    """Fits latencies ``(n,)`` of networks, and predicts mean and relative deviation of others, ``(k,)`` each."""

    def fit(self, known: Known, latency: Array) -> None:
        """Fit; an earlier fit is discarded."""

    def predict(self, known: Known) -> tuple[Array, Array]:
        """Mean in milliseconds and standard deviation as a share of it."""


class Mixture:
    r"""``latency = sum_j a_j * sums_j + b * blocks + c`` by least squares of the relative errors, every a at least 0.

    For the sum over blocks it corrects effects between blocks: runtimes fuse operators across their borders (``a``
    below 1), and a block measured alone includes entering the runtime and changing layouts (``b`` below 0). For
    latencies on other devices it describes a new device as a mixture of known ones. With few networks the sums are only
    scaled: ``b`` and ``c`` are 0.
    """

    def fit(self, known: Known, latency: Array) -> None:
        """Learn."""
        terms = self._terms(known)
        self._kept = np.ones(terms.shape[1], dtype=bool)
        if len(latency) < known.sums.shape[1] + 4:
            self._kept[known.sums.shape[1] :] = False
        weights, _ = nnls(terms[:, self._kept] / latency[:, None], np.ones(len(latency)))
        self._weights = np.zeros(terms.shape[1])
        self._weights[self._kept] = weights
        errors = self._mean(terms) / latency - 1
        free = max(len(latency) - int((weights > 0).sum()), 1)
        self._spread = max(float(np.sqrt(errors @ errors / free)), MIN_DEVIATION)
        self._spread *= float(stdtrit(free, 0.975)) / 1.96  # with few networks the deviation itself is uncertain

    def predict(self, known: Known) -> tuple[Array, Array]:
        """Mean and relative deviation, the same for all networks."""
        return self._mean(self._terms(known)), np.full(len(known), self._spread)

    def _mean(self, terms: Array) -> Array:
        return np.asarray(np.maximum(terms @ self._weights, 1e-3 * terms[:, 0]))

    @staticmethod
    def _terms(known: Known) -> Array:
        one = np.ones(len(known))
        signed = np.stack([known.blocks, -known.blocks, one, -one], axis=1)  # of either sign, unlike the sums
        return np.concatenate([known.sums, signed], axis=1)


class Process:
    """A Gaussian process of the logarithm of the latency over all choices, and how often each option is taken.

    Args:
        on: a mixture of the sums, whose residuals the process models; without it, the whole latency.
    """

    def __init__(self, on: Mixture | None = None) -> None:
        self._on = on

    def fit(self, known: Known, latency: Array) -> None:
        """Learn."""
        if self._on is not None:
            self._on.fit(known, latency)
        x, groups = self._encoded(known)
        self._process = ChoiceGaussianProcess(groups=list(groups))
        self._process.fit(x, np.log(latency) - self._base(known))

    def predict(self, known: Known) -> tuple[Array, Array]:
        """Mean and relative deviation."""
        mean, deviation = self._process.predict(self._encoded(known)[0])
        return np.exp(mean + self._base(known)), np.maximum(deviation, MIN_DEVIATION)

    def _base(self, known: Known) -> Array:
        return np.zeros(len(known)) if self._on is None else np.log(self._on.predict(known)[0])

    def _encoded(self, known: Known) -> tuple[Array, NDArray[np.intp]]:
        features = [known.counts]
        if self._on is not None:
            features.append(np.log(known.sums) - self._base(known)[:, None])
        extra = sum(f.shape[1] for f in features)
        return np.concatenate([known.codes, *features], axis=1), np.append(known.groups, np.full(extra, -1))


MODELS: dict[str, Callable[[], LatencyModel]] = {
    "blocks": Mixture,
    "learned": Process,
    "both": lambda: Process(on=Mixture()),
    "operators": Mixture,
}
"""The corrected sum over blocks, a process over choices, a process over residuals of that sum; the corrected sum over
operators."""
AUTO_MODELS = ("blocks", "learned", "both")
"""Those among which cross-validation chooses: a table of operators takes more measurements."""


@dataclass(frozen=True)
class Judged:
    """A fitted model and its error on held-out networks.

    Args:
        name: of the model.
        model: fitted on everything.
        error: median relative error of the cross-validation.
        least: smallest half-width of an interval, relative: 95 % of the networks of the cross-validation lie within it.
    """

    name: str
    model: LatencyModel
    error: float
    least: float

    def predict(self, known: Known) -> tuple[Array, Array, Array]:
        """Latencies with their 95 % intervals, ``(k,)`` each."""
        mean, deviation = self.model.predict(known)
        half = np.exp(np.maximum(1.96 * deviation, self.least))
        return mean, mean / half, mean * half


def judged(known: Known, latency: Array, names: Sequence[str]) -> Judged:
    """The named model with the best predictions of held-out networks, fitted on all of them.

    Args:
        known: of ``n`` networks.
        latency: measured, ``(n,)``.
        names: in ``MODELS``.
    """
    parts = np.arange(len(latency)) % min(MOST_FOLDS, len(latency))
    found = []
    for name in names:
        errors = np.empty(len(latency))
        for part in range(parts.max() + 1):
            model, out = MODELS[name](), np.flatnonzero(parts == part)
            rest = np.flatnonzero(parts != part)
            if not len(rest):
                rest = out
            model.fit(known[rest], latency[rest])
            errors[out] = np.abs(np.log(model.predict(known[out])[0] / latency[out]))
        whole = MODELS[name]()
        whole.fit(known, latency)
        held = min(math.ceil(0.95 * (len(errors) + 1)), len(errors))  # of split conformal prediction
        found.append(Judged(name, whole, float(np.median(errors)), float(np.sort(errors)[held - 1])))
    return min(found, key=lambda j: j.error)
