"""From what is known of a network to its latency: learnt from a few networks that were measured as a whole."""

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
LEAST_SPREAD = 1e-2
"""Relative standard deviation of a predicted latency at least: what one measurement differs from the next by."""
SCORED = 8
"""Parts of the cross-validation at most."""


@dataclass(frozen=True)
class Known:
    """What is known of ``n`` networks without measuring them as a whole.

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
    """Learns latencies ``(n,)`` of known networks, and says the mean and the relative deviation of others, ``(k,)``."""

    def fit(self, known: Known, latency: Array) -> None:
        """Learn; forgets what was learnt before."""

    def predict(self, known: Known) -> tuple[Array, Array]:
        """Mean in milliseconds and standard deviation as a share of it."""


class Mixture:
    r"""``latency = sum_j a_j * sums_j + b * blocks + c`` by least squares of the relative errors, every a at least 0.

    With the sum over blocks this is what blocks do not show: runtimes fuse over their borders (an a below 1), and
    every block that is measured alone pays for entering the runtime and for changing layouts (a b below 0). With
    latencies on other devices it is a new device as a mixture of known ones. With few networks the sums are only
    scaled, and nothing is added to them.
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
        self._spread = max(float(np.sqrt(errors @ errors / free)), LEAST_SPREAD)
        self._spread *= float(stdtrit(free, 0.975)) / 1.96  # of few networks the deviation itself is uncertain

    def predict(self, known: Known) -> tuple[Array, Array]:
        """Mean and relative deviation, which is that of all."""
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
        on: a mixture of the sums, of which the process learns what is left; without it, the whole latency.
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
        return np.exp(mean + self._base(known)), np.maximum(deviation, LEAST_SPREAD)

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
"""The sum over blocks corrected, a process over choices, a process of what the corrected sum leaves; and the sum over
operators corrected."""
AUTO = ("blocks", "learned", "both")
"""Those among which cross-validation chooses: a table of operators takes more measurements."""


@dataclass(frozen=True)
class Judged:
    """A model, and how far it was from networks that it had not seen.

    Args:
        name: of the model.
        model: fitted on everything.
        error: median relative error of the cross-validation.
        least: half of an interval at least, relative: 95 % of the networks of the cross-validation are within it.
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
    """Of the models named that one which predicts best what it has not seen, fitted on everything.

    Args:
        known: of ``n`` networks.
        latency: measured, ``(n,)``.
        names: in ``MODELS``.
    """
    parts = np.arange(len(latency)) % min(SCORED, len(latency))
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
