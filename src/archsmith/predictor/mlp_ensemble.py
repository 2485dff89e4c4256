"""Small neural networks that learn an order first and a value second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from archsmith.method import Paper
from archsmith.predictor._calibration import calibrated, folds
from archsmith.predictor._data import Array, checked, standardised
from archsmith.predictor._network import RANKING_WEIGHT, Networks, Scaling, at_least, minimise, ranking_loss, torch_for
from archsmith.predictor._threads import one_thread
from archsmith.predictor.base import Predictor

if TYPE_CHECKING:
    from torch import Tensor

MLP_RATES = (0.03, 3.0)
PAIRS_COMPARED = 160
"""Pairs a step: the ranking loss compares each with each, so that more are drawn anew for every step."""


class MlpEnsemble(Predictor):
    """Several perceptrons with two hidden layers, trained on the order of pairs and on their values together.

    The loss is the softplus of every pair's difference in the wrong direction (a smooth form of the papers' hinge)
    plus the squared error, so that the network orders well *and* predicts in the target's unit. Each member leaves out
    a part of the data; their scores of pairs that they did not see give an affine map and a noise,
    which is added to the spread of the members.

    Departures from the paper: pairs that are compared come from the whole range rather than from one with a threshold
    on their difference; an ensemble instead of one network; the encoding is the caller's.

    Args:
        members: networks in the ensemble.
        hidden: width of both hidden layers.
        steps: of the optimiser, each on all pairs (on 160 drawn ones where there are more).
        seed: of first weights and draws.

    Raises:
        InvalidOption: for an option outside its range.
        MissingExtra: without PyTorch.
    """

    paper = Paper(
        authors="Xu, Yixing and Wang, Yunhe and Han, Kai and Tang, Yehui and Jui, Shangling and Xu, Chunjing and "
        "Xu, Chang",
        title="ReNAS: Relativistic Evaluation of Neural Architecture Search",
        year=2021,
        venue="CVPR",
        arxiv="1910.01523",
    )

    def __init__(self, *, members: int = 5, hidden: int = 48, steps: int = 60, seed: int = 0) -> None:
        self._members = at_least("members", members, 2)
        self._hidden = at_least("hidden", hidden, 1)
        self._steps = at_least("steps", steps, 1)
        self._seed = at_least("seed", seed, 0)
        self._torch = torch_for("mlp_ensemble")

    def fit(self, x: Array, y: Array) -> None:
        """Learn from encodings ``x (n, d)`` and finite values ``y (n,)``; forgets what it learnt before."""
        x, y = checked(x, y)
        torch = self._torch
        generator = torch.Generator().manual_seed(self._seed)
        self._scaling = Scaling.of(x)
        self._shift, self._scale, target = standardised(y)
        self._networks = Networks(torch, self._members, (x.shape[1], self._hidden, self._hidden, 1), generator)
        left_out = folds(len(y), self._members, self._seed)
        inputs = torch.as_tensor(self._scaling(x), dtype=torch.float32)
        wanted = torch.as_tensor(target, dtype=torch.float32)
        share = torch.as_tensor(~left_out, dtype=torch.float32)

        def loss(weights: Tensor, step: int) -> Tensor:  # noqa: ARG001 - drawn anew, not by number
            part = (
                slice(None)
                if len(y) <= PAIRS_COMPARED
                else torch.randperm(len(y), generator=generator)[:PAIRS_COMPARED]
            )
            scores = self._networks(weights, inputs[part])[:, :, 0]
            kept = share[:, part]
            error = ((scores - wanted[part]) ** 2 * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
            found: Tensor = error.sum() + RANKING_WEIGHT * ranking_loss(torch, scores, wanted[part], kept)
            return found

        with one_thread(torch):
            self._weights = minimise(torch, self._networks.weights, loss, rates=MLP_RATES, steps=self._steps)
        self._map = calibrated(self._scores(x), target, left_out)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each."""
        mean, std = self._map(self._scores(np.asarray(x, dtype=float)))
        return self._shift + self._scale * mean, self._scale * std

    def _scores(self, x: Array) -> Array:
        """The score that each member gives, ``(members, n)``."""
        torch = self._torch
        with one_thread(torch), torch.no_grad():
            inputs = torch.as_tensor(self._scaling(x), dtype=torch.float32)
            return np.asarray(self._networks(self._weights, inputs)[:, :, 0].double().numpy())
