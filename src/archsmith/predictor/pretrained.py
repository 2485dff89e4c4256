"""Few labels go further when the network has learnt something related before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from archsmith.errors import InvalidData, InvalidOption
from archsmith.method import Paper
from archsmith.predictor._bandit import MIXINGS, Mixing, bandit
from archsmith.predictor._calibration import calibrated, folds
from archsmith.predictor._data import Array, checked, normal_scores, standardised
from archsmith.predictor._network import (
    RANKING_WEIGHT,
    Adam,
    Networks,
    Scaling,
    at_least,
    minimise,
    ranking_loss,
    torch_for,
)
from archsmith.predictor._threads import one_thread
from archsmith.predictor.base import Predictor

if TYPE_CHECKING:
    from torch import Generator, Tensor

PRETRAINING = (0.01, 0.3)
TUNING = (0.005, 3.0)
AUXILIARY_WEIGHT = 1.0
"""Weight of the source that is trained beside the target, in gradients of the target's length."""
PAIRS_A_STEP = 128


@dataclass(frozen=True)
class _Source:
    x: Tensor  # (n, d)
    y: Tensor  # (n,)


class Pretrained(Predictor):
    """Perceptrons whose hidden layers learn free statistics and other tables before, and beside, the few labels.

    :meth:`pretrain` takes sources: values that cost nothing for thousands of architectures (parameters, MACs,
    proxies), or targets of other tables. The hidden layers are trained on all of them, with an output each (FBNetV3's
    predictor pre-training). :meth:`fit` then trains hidden layers and a new output on the labels; each step also takes
    one batch of one source, which a bandit chooses (EXP3 or UCB1, as in FLAD), rewarded by the cosine between the
    source's gradient of the hidden layers and the target's. Without sources it is a plain ensemble.

    Departures from the papers: encodings of all sources have the same columns; sources count by their order (normal
    scores), because their units are unrelated; the target's loss has a ranking part (see ``mlp_ensemble``); FLAD's
    rewards come from a language model's gradients, ours are exact for the target's labels.

    Args:
        members: networks in the ensemble.
        hidden: width of both hidden layers.
        steps: of the optimiser on the labels.
        pretraining: steps of the optimiser on the sources.
        mixing: how the source of a step is chosen: ``exp3``, ``ucb1`` or ``uniform``.
        seed: of first weights and draws.

    Raises:
        InvalidOption: for an option outside its range.
        MissingExtra: without PyTorch.
    """

    paper = Paper(
        authors="Dai, Xiaoliang and Wan, Alvin and Zhang, Peizhao and Wu, Bichen and He, Zijian and Wei, Zhen and "
        "Chen, Kan and Tian, Yuandong and Yu, Matthew and Vajda, Peter and Gonzalez, Joseph E.",
        title="FBNetV3: Joint Architecture-Recipe Search using Predictor Pretraining",
        year=2021,
        venue="CVPR",
        arxiv="2006.02049",
    )

    def __init__(
        self,
        *,
        members: int = 5,
        hidden: int = 48,
        steps: int = 60,
        pretraining: int = 400,
        mixing: Mixing = "exp3",
        seed: int = 0,
    ) -> None:
        self._members = at_least("members", members, 2)
        self._hidden = at_least("hidden", hidden, 1)
        self._steps = at_least("steps", steps, 1)
        self._pretraining = at_least("pretraining", pretraining, 1)
        if mixing not in MIXINGS:
            raise InvalidOption(f"mixing={mixing!r} is not one of {', '.join(MIXINGS)}")
        self._mixing: Mixing = mixing
        self._seed = at_least("seed", seed, 0)
        self._torch = torch_for("pretrained")
        self._sources: list[_Source] = []
        self._names: list[str] = []

    def pretrain(self, sources: Mapping[str, tuple[Array, Array]]) -> None:
        """Learn from ``sources``, name -> encodings ``(n, d)`` and values ``(n,)``; forgets earlier ones.

        Raises:
            InvalidData: for no source, one without pairs, numbers that are not finite, or widths that differ.
        """
        if not sources:
            raise InvalidData("there is no source to learn from; give at least one, such as {'params': (x, y)}")
        pairs = {name: checked(x, y) for name, (x, y) in sources.items()}
        widths = {name: x.shape[1] for name, (x, _) in pairs.items()}
        if len(set(widths.values())) > 1:
            raise InvalidData(f"all sources must be encoded alike, got the widths {widths}")
        torch = self._torch
        generator = torch.Generator().manual_seed(self._seed)
        self._scaling = Scaling.of(np.concatenate([x for x, _ in pairs.values()]))
        self._width = next(iter(widths.values()))
        self._names = list(pairs)
        self._sources = [
            _Source(self._inputs(x), torch.as_tensor(normal_scores(y), dtype=torch.float32)) for x, y in pairs.values()
        ]
        self._encoders = self._networks(generator)

        def loss(weights: Tensor, step: int) -> Tensor:
            return self._auxiliary(weights, step % len(self._sources), generator)

        with one_thread(torch):
            self._start = minimise(torch, self._encoders.weights, loss, rates=PRETRAINING, steps=self._pretraining)

    def fit(self, x: Array, y: Array) -> None:
        """Learn from encodings ``x (n, d)`` and finite values ``y (n,)``; forgets labels, not the pre-training.

        Raises:
            InvalidData: also for another width than that of the sources.
        """
        x, y = checked(x, y)
        torch = self._torch
        generator = torch.Generator().manual_seed(self._seed + 1)
        if not self._sources:
            self._scaling, self._width = Scaling.of(x), x.shape[1]
            self._encoders = self._networks(generator)
            self._start = self._encoders.weights
        if x.shape[1] != self._width:
            raise InvalidData(f"the sources have {self._width} columns, these labels have {x.shape[1]}; encode alike")
        self._shift, self._scale, target = standardised(y)
        left_out = folds(len(y), self._members, self._seed)
        with one_thread(torch):
            self._weights = self._tuned(self._inputs(x), target, left_out, generator)
        self._map = calibrated(self._scores(x), target, left_out)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each."""
        mean, std = self._map(self._scores(np.asarray(x, dtype=float)))
        return self._shift + self._scale * mean, self._scale * std

    def _networks(self, generator: Generator) -> Networks:
        widths = (self._width, self._hidden, self._hidden, 1 + len(self._sources))
        return Networks(self._torch, self._members, widths, generator)

    def _inputs(self, x: Array) -> Tensor:
        found: Tensor = self._torch.as_tensor(self._scaling(x), dtype=self._torch.float32)
        return found

    def _auxiliary(self, weights: Tensor, source: int, generator: Generator) -> Tensor:
        """The squared error on one batch of one source; the target's output is the first, a source's comes after."""
        data = self._sources[source]
        part = self._torch.randint(len(data.y), (min(PAIRS_A_STEP, len(data.y)),), generator=generator)
        error = (self._encoders(weights, data.x[part])[:, :, 1 + source] - data.y[part]) ** 2
        return error.mean(dim=1).sum()

    def _tuned(
        self,
        inputs: Tensor,
        target: Array,
        left_out: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
        generator: Generator,
    ) -> Tensor:
        torch = self._torch
        wanted = torch.as_tensor(target, dtype=torch.float32)
        share = torch.as_tensor(~left_out, dtype=torch.float32)
        arms = bandit(self._mixing, len(self._sources), np.random.default_rng(self._seed)) if self._sources else None
        weights, body = self._start, len(self._start) - self._encoders.head
        adam = Adam(torch, len(weights), TUNING, self._steps)
        for _ in range(self._steps):
            part = (
                slice(None)
                if len(wanted) <= PAIRS_A_STEP
                else torch.randperm(len(wanted), generator=generator)[:PAIRS_A_STEP]
            )
            free = weights.detach().requires_grad_()
            scores, kept = self._encoders(free, inputs[part])[:, :, 0], share[:, part]
            error = (((scores - wanted[part]) ** 2 * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)).sum()
            loss = error + RANKING_WEIGHT * ranking_loss(torch, scores, wanted[part], kept)
            (gradient,) = torch.autograd.grad(loss, free)
            if arms is not None:
                arm = arms.draw()
                (beside,) = torch.autograd.grad(self._auxiliary(free, arm, generator), free)
                ours, theirs = gradient[:body], beside[:body]
                lengths = float(ours.norm()), float(theirs.norm())
                arms.reward(arm, float(ours @ theirs) / max(lengths[0] * lengths[1], 1e-12))
                gradient = gradient + AUXILIARY_WEIGHT * lengths[0] / max(lengths[1], 1e-12) * beside
            weights = adam.step(weights, gradient)
        return weights

    def _scores(self, x: Array) -> Array:
        """The score that each member gives, ``(members, n)``."""
        with one_thread(self._torch), self._torch.no_grad():
            return np.asarray(self._encoders(self._weights, self._inputs(x))[:, :, 0].double().numpy())
