"""Relaxed decisions where depth, branches and sizes of images were found in a model."""

import numpy as np
import pytest
import torch
from torch import nn

import archsmith as smith
from archsmith.errors import InvalidModel
from archsmith.supernet import Relaxed
from archsmith.testing import supernets as laws


class Inner(nn.Module):
    """Writes into what it is given, and gives back a second thing that it was handed."""

    def __init__(self):
        super().__init__()
        self.part = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8))

    def forward(self, bias, x):
        x.add_(0.5)
        return x + self.part(x) + bias, bias


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with laws.seeded():
            self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
            self.bias = nn.Parameter(torch.rand(8))
            self.layers = nn.ModuleList(Inner() for _ in range(3))

    def forward(self, x):
        x, bias = self.first(x), self.bias
        for layer in self.layers:
            x, bias = layer(bias, x)
        return self.last(x)


INPUTS = torch.rand(5, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def supernet():
    options = {"width": (0.5, 1.0), "multiple": 1, "depth": 0.3, "branches": True, "importance": None}
    found = smith.elastic(Net(), INPUTS, freeze=["first", "layers.0.part.branch"], **options).eval()
    assert {"layers.depth", "layers.1.part.branch"} <= set(found.space.names)
    return found


def test_one_hot_is_the_architecture(supernet, rng):
    for arch in (supernet.smallest, supernet.largest, *(supernet.random(rng) for _ in range(8))):
        laws.check_relaxed(supernet, arch, (INPUTS,), tolerance=1e-5)
    laws.check_as_found(supernet, Relaxed.uniform(supernet.space), (INPUTS,))


def test_a_block_is_weighted_against_what_it_was_given(supernet):
    """Depths 1, 2, 3 with probabilities 0.2, 0.3, 0.5: the second block counts 0.8, the third 0.5."""
    one_hot = Relaxed.one_hot(supernet.space, supernet.largest).probabilities
    depth = torch.tensor([0.2, 0.3, 0.5])
    found = supernet(INPUTS, arch=Relaxed({**one_hot, "layers.depth": depth}))
    model = supernet.model
    x = model.layers[0](model.bias, model.first(INPUTS))[0]
    for layer, p in zip(model.layers[1:], (0.8, 0.5), strict=True):
        x = p * layer(model.bias, x.clone())[0] + (1 - p) * x
    torch.testing.assert_close(found, model.last(x))


@pytest.mark.parametrize("mixing", ["sum", "sampled_path"])
def test_probabilities_learn(supernet, mixing):
    logits = {c.name: torch.zeros(len(c.options), requires_grad=True) for c in supernet.space.choices}
    relaxed = Relaxed({n: x.softmax(0) for n, x in logits.items()}, mixing, np.random.default_rng(3))
    supernet(INPUTS, arch=relaxed).square().sum().backward()
    assert logits["layers.depth"].grad.abs().sum() > 0
    if mixing == "sum":
        assert all(x.grad.abs().sum() > 0 for x in logits.values())


def test_gradients_of_the_sum_are_right(supernet):
    """In double precision, against differences."""
    double = smith.elastic(Net().double(), INPUTS.double(), only=["layers.depth"], depth=0.3, importance=None).eval()

    def output(logits):
        return double(INPUTS.double(), arch=Relaxed({"layers.depth": logits.softmax(0)}))

    assert torch.autograd.gradcheck(output, torch.zeros(3, dtype=torch.float64, requires_grad=True))


def test_a_sampled_path_is_the_architecture_that_is_drawn(supernet):
    relaxed = Relaxed.uniform(supernet.space, "sampled_path", np.random.default_rng(1))
    drawn = Relaxed.uniform(supernet.space, "sampled_path", np.random.default_rng(1)).draw(supernet.space)
    torch.testing.assert_close(supernet(INPUTS, arch=relaxed), supernet(INPUTS, arch=drawn))


def test_sizes_of_images_are_drawn_not_weighted():
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))
    images = torch.rand(2, 3, 12, 12)
    supernet = smith.elastic(model, images, resolution=(6, 9)).eval()
    logits = torch.zeros(3, requires_grad=True)
    probabilities = {**Relaxed.uniform(supernet.space).probabilities, "input.resolution": logits.softmax(0)}
    with pytest.raises(InvalidModel, match="sampled_path"):
        supernet(images, arch=Relaxed(probabilities))
    for seed in range(3):
        relaxed, again = (Relaxed(probabilities, "sampled_path", np.random.default_rng(seed)) for _ in range(2))
        output = supernet(images, arch=relaxed)
        torch.testing.assert_close(output, supernet(images, arch=again.draw(supernet.space)))
    output.sum().backward()
    assert logits.grad.abs().sum() > 0
