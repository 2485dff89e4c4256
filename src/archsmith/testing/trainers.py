"""What every way to train a supernet must do.

Subclass the suite with the name of yours::

    class TestMine(TrainerConformance):
        name = "mypackage.mine:Mine"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archsmith import method
from archsmith.errors import InvalidOption, TrainingDiverged
from archsmith.supernet import Elastic, Supernet, Width
from archsmith.training.base import TrainingMethod
from archsmith.training.kit import loop as _loop

Batches = list[tuple[Any, Tensor]]


def tiny_supernet(seed: int = 0, *, outputs: int = 3) -> Supernet:
    """A network of two hidden layers with batch norm and dropout, ``(b, 4) -> (b, outputs)``: 9 architectures."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            *(nn.Linear(4, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.1)),
            *(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, outputs)),
        )
    first, second = Width("first", (8, 16, 24)), Width("second", (6, 12, 16))
    return Supernet(
        model,
        {
            "0": Elastic(out=first),
            "1": Elastic(over=first),
            "4": Elastic(out=second, into=first),
            "6": Elastic(into=second),
        },
        example_inputs=(torch.zeros(2, 4),),
    )


def blobs(batches: int = 6, size: int = 32, seed: int = 0) -> Batches:
    """Points ``(b, 4)`` around three centres, and which one ``(b,)``: learnt in a few epochs."""
    rng = np.random.default_rng(seed)
    centres = 2 * np.eye(3, 4)
    found = []
    for _ in range(batches):
        labels = rng.integers(0, 3, size)
        points = centres[labels] + 0.5 * rng.normal(size=(size, 4))
        found.append((torch.tensor(points, dtype=torch.float32), torch.tensor(labels)))
    return found


class TrainerConformance:
    """The contract of :class:`archsmith.training.base.TrainingMethod`, as tests.

    Attributes:
        name: of the method, as ``archsmith.method.make`` takes it.
        options: to build it with.
        epochs: in which it must learn :func:`blobs`.
    """

    __test__ = False
    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    epochs: ClassVar[int] = 12

    def __init_subclass__(cls) -> None:
        """Have pytest collect subclasses, and not this class where it is imported."""
        cls.__test__ = True

    def train(self, supernet: Supernet, loader: Any, **settings: Any) -> _loop.TrainingReport:
        """Train with this method."""
        settings = {"epochs": self.epochs, "lr": 0.01} | settings
        return _loop.train(supernet, loader, method=self.name, options=self.options, **settings)

    def backward(
        self, supernet: Supernet, seed: int, scale: Callable[[Tensor], Tensor] = lambda x: x
    ) -> dict[str, Tensor]:
        """Gradients of one batch, in training mode."""
        chosen: TrainingMethod = method.make("training", self.name, **self.options)
        inputs, targets = blobs(1)[0]
        supernet.train()
        supernet.zero_grad(set_to_none=True)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            chosen.backward(
                supernet,
                lambda arch: supernet(inputs, arch=arch),
                targets,
                loss=nn.functional.cross_entropy,
                rng=np.random.default_rng(seed),
                scale=scale,
            )
        return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in supernet.named_parameters()}

    def test_learns(self) -> None:
        """The loss falls, and a network that was trained classifies new points."""
        supernet = tiny_supernet()
        report = self.train(supernet, blobs())
        part = next(k for k in report.history[0] if k.startswith("loss_"))
        assert report.completed
        assert report.epochs == len(report.history) == self.epochs
        assert report.history[-1][part] < 0.6 * report.history[0][part]
        supernet.eval()
        supernet.record_calibration(blobs())
        [(inputs, labels)] = blobs(1, 300, seed=1)
        assert (supernet(inputs).argmax(1) == labels).float().mean() > 0.9

    def test_same_seed_same_weights(self) -> None:
        """To the bit, whatever the global generators' state, which is left alone."""
        fingerprints = []
        for state in (1, 2):
            supernet = tiny_supernet()
            with torch.random.fork_rng([]):
                torch.manual_seed(state)
                before = torch.get_rng_state()
                self.train(supernet, blobs(), epochs=2, seed=5)
                assert torch.equal(before, torch.get_rng_state())
            fingerprints.append(supernet.weights_fingerprint)
        assert fingerprints[0] == fingerprints[1]

    def test_draws_from_the_generator_handed_in(self) -> None:
        """Equal generators, equal gradients; numpy's global one is not touched."""
        supernet = tiny_supernet()
        before = np.random.get_state()[1].copy()  # type: ignore[index] # noqa: NPY002 - to see that nobody draws from it
        first, second = self.backward(supernet, 3), self.backward(supernet, 3)
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index] # noqa: NPY002

    def test_scale_reaches_every_loss(self) -> None:
        """Losses scaled by 8 give gradients 8 times as large: none bypasses mixed precision."""
        supernet = tiny_supernet()
        plain, scaled = self.backward(supernet, 3), self.backward(supernet, 3, lambda loss: 8 * loss)
        for name, gradient in plain.items():
            torch.testing.assert_close(8 * gradient, scaled[name], rtol=1e-4, atol=1e-6)

    def test_modes_and_gradients_are_left_as_found(self) -> None:
        """A norm that the user froze is frozen afterwards."""
        supernet = tiny_supernet()
        supernet.train()
        supernet.get_submodule("model.1").eval()
        modes = {name: module.training for name, module in supernet.named_modules()}
        self.train(supernet, blobs(), epochs=1)
        assert modes == {name: module.training for name, module in supernet.named_modules()}
        assert all(p.grad is None for p in supernet.parameters())

    def test_the_users_loss(self) -> None:
        """Outputs that are no classes: a regression."""
        supernet = tiny_supernet(outputs=1)
        loader = [(x, x.sum(1, keepdim=True)) for x, _ in blobs()]
        report = self.train(supernet, loader, loss=nn.functional.mse_loss)
        part = next(k for k in report.history[0] if k.startswith("loss_"))
        assert report.history[-1][part] < 0.6 * report.history[0][part]

    def test_a_loss_that_is_not_finite_ends_it(self) -> None:
        """With the weights of the last finished epoch."""
        supernet = tiny_supernet()
        calls = iter(range(10**6))

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            value = nn.functional.cross_entropy(outputs, targets)
            return value * float("nan") if next(calls) == 0 else value

        before = supernet.weights_fingerprint
        with pytest.raises(TrainingDiverged, match=r"epoch 1, step 1 of 6 .*nan.* A lower lr"):
            self.train(supernet, blobs(), loss=loss)
        assert supernet.weights_fingerprint == before

    def test_unknown_options_are_refused(self) -> None:
        """With the names of those there are."""
        with pytest.raises(InvalidOption, match="has no option no_such_option"):
            method.make("training", self.name, no_such_option=1)
