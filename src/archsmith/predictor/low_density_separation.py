"""Good from bad with few labels: the border runs where there are few architectures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from archsmith.errors import InvalidData, InvalidOption
from archsmith.method import Paper
from archsmith.predictor._calibration import calibrated, folds
from archsmith.predictor._data import Array, checked, standardised
from archsmith.predictor._network import Networks, Scaling, at_least, minimise, torch_for
from archsmith.predictor._threads import one_thread
from archsmith.predictor.base import Predictor

if TYPE_CHECKING:
    from torch import Tensor

SEPARATION_RATES = (0.02, 3.0)
UNLABELLED_A_STEP = 256
BALANCE = 0.03
"""Weight of the rule that as many unlabelled architectures are called good as labelled ones are."""
STEEPNESS = 3.0
"""Of the bell ``exp(-3 f^2)`` that charges for unlabelled architectures near the border, as in the transductive SVM."""


class LowDensitySeparation(Predictor):
    """Transductive classifier of good and bad that also learns from architectures without a label.

    Perceptrons embed the encoding; on the embedding a border is drawn that keeps a margin to the labels, runs where
    few of the unlabelled architectures lie (their cost :math:`e^{-3 f^2}` grows during training from nothing), and
    calls as many of them good as there are among the labels. :meth:`observe` gives the unlabelled ones; without
    them it is the supervised classifier. The signed distance to the border, mapped to the target's unit on labels
    that a member left out, is what :meth:`predict` returns.

    Departures from the paper: embedding and border are learnt together, not in turns with pseudo-labels; an ensemble
    takes the place of several restarts; the prediction is a value and its spread, not a class.

    Args:
        good: share of the labels that count as good, those with the largest (or, with ``smallest=True``, the
            smallest) values.
        smallest: whether small values are good; the border differs where ``good`` is not one half.
        density: weight of the cost of unlabelled architectures near the border.
        members: networks in the ensemble.
        hidden: width of both hidden layers.
        steps: of the optimiser.
        seed: of first weights and draws.

    Raises:
        InvalidOption: for an option outside its range.
        MissingExtra: without PyTorch.
    """

    paper = Paper(
        authors="Burkhart, Michael C. and Shan, Kyle",
        title="Deep Low-Density Separation for Semi-Supervised Classification",
        year=2020,
        venue="ICCS",
        arxiv="2205.11995",
    )

    def __init__(
        self,
        *,
        good: float = 0.5,
        smallest: bool = False,
        density: float = 2.0,
        members: int = 5,
        hidden: int = 32,
        steps: int = 80,
        seed: int = 0,
    ) -> None:
        if not 0 < good < 1:
            raise InvalidOption(f"good={good!r} is not a share between 0 and 1")
        if not 0 <= density <= 100:
            raise InvalidOption(f"density={density!r} is not a weight from 0 to 100")
        self._good, self._density = float(good), float(density)
        self._sign = -1.0 if smallest else 1.0
        self._members = at_least("members", members, 2)
        self._hidden = at_least("hidden", hidden, 1)
        self._steps = at_least("steps", steps, 1)
        self._seed = at_least("seed", seed, 0)
        self._torch = torch_for("low_density_separation")
        self._unlabelled: Array | None = None

    def observe(self, x: Array) -> None:
        """Take the encodings ``x (n, d)`` of architectures without a label; forgets earlier ones.

        Raises:
            InvalidData: for none, or numbers that are not finite.
        """
        self._unlabelled, _ = checked(x, np.zeros(len(x)))

    def fit(self, x: Array, y: Array) -> None:
        """Learn from encodings ``x (n, d)`` and finite values ``y (n,)``; forgets labels, not unlabelled encodings.

        Raises:
            InvalidData: also for another width than that of the unlabelled encodings.
        """
        x, y = checked(x, y)
        around = x if self._unlabelled is None else self._unlabelled
        if around.shape[1] != x.shape[1]:
            raise InvalidData(
                f"unlabelled encodings have {around.shape[1]} columns, these have {x.shape[1]}; encode alike"
            )
        torch = self._torch
        self._scaling = Scaling.of(around)
        self._shift, self._scale, target = standardised(y)
        left_out = folds(len(y), self._members, self._seed)
        with one_thread(torch):
            self._train(x, self._sign * target, left_out)
        self._map = calibrated(self._sign * self._scores(x), target, left_out)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each."""
        mean, std = self._map(self._sign * self._scores(np.asarray(x, dtype=float)))
        return self._shift + self._scale * mean, self._scale * std

    def _train(self, x: Array, target: Array, left_out: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
        torch = self._torch
        generator = torch.Generator().manual_seed(self._seed)
        self._networks = Networks(torch, self._members, (x.shape[1], self._hidden, self._hidden, 1), generator)
        inputs = self._inputs(x)
        wanted = torch.as_tensor(_sides(target, self._good), dtype=torch.float32)
        share = torch.as_tensor(~left_out, dtype=torch.float32)
        around = None if self._unlabelled is None or not self._density else self._inputs(self._unlabelled)

        def loss(weights: Tensor, step: int) -> Tensor:
            border = self._networks(weights, inputs)[:, :, 0]
            margin = torch.nn.functional.softplus(3 * (1 - wanted * border)) / 3
            found: Tensor = ((margin * share).sum(dim=1) / share.sum(dim=1).clamp(min=1)).sum()
            if around is None:
                return found
            part = around[torch.randint(len(around), (UNLABELLED_A_STEP,), generator=generator)]
            far = self._networks(weights, part)[:, :, 0]
            near = torch.exp(-STEEPNESS * far**2).mean(dim=1).sum()
            balance = (torch.tanh(far).mean(dim=1) - wanted.mean()).square().sum()
            total: Tensor = found + self._density * (step / self._steps) * near + BALANCE * balance
            return total

        self._weights = minimise(torch, self._networks.weights, loss, rates=SEPARATION_RATES, steps=self._steps)

    def _inputs(self, x: Array) -> Tensor:
        found: Tensor = self._torch.as_tensor(self._scaling(x), dtype=self._torch.float32)
        return found

    def _scores(self, x: Array) -> Array:
        """The signed distance to each member's border, ``(members, n)``."""
        with one_thread(self._torch), self._torch.no_grad():
            return np.asarray(self._networks(self._weights, self._inputs(x))[:, :, 0].double().numpy())


def _sides(target: Array, good: float) -> Array:
    """1 for good and -1 for bad, ``(n,)``: cut between two different values, as near to the share as ties allow."""
    values = np.unique(target)[1:]
    if not len(values):
        return np.ones(len(target))
    shares = 1 - np.searchsorted(np.sort(target), values) / len(target)
    return np.where(target >= values[np.argmin(np.abs(shares - good))], 1.0, -1.0)
