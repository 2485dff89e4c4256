"""Two small models that exercise everything beside the shipped networks."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from archsmith.supernet import Depth, Elastic, Kernel, Optional, Supernet, Switch, Width
from archsmith.supernet.networks.residual_convnet import ResidualConvNet


class Residual(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(size), nn.Linear(size, size)

    def forward(self, x):
        return x + torch.tanh(self.linear(self.norm(x)))


class Mlp(nn.Module):
    """Hidden width with a layer norm, an optional block inside a depth, dropout, and a switch of heads."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(6, 12), nn.LayerNorm(12)
        self.drop = nn.Dropout(0.3)
        self.blocks = Depth("blocks", [Residual(12), Optional("second", Residual(12)), Residual(12)], options=(1, 2, 3))
        tall = nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 4))
        self.head = Switch("head", {"flat": nn.Linear(12, 4), "tall": tall})

    def forward(self, x):
        return self.head(self.blocks(self.drop(self.norm(self.first(x)))))


class Case(tuple):
    def __repr__(self):  # Hypothesis prints it
        return f"Case({type(self[0].model).__name__})"


def mlp_elastic():
    hidden, inner = Width("hidden", (4, 8, 12)), Width("inner", (5, 10))
    found = {"first": Elastic(out=hidden), "norm": Elastic(over=hidden)}
    for block in ("blocks.0", "blocks.1.module", "blocks.2"):
        found |= {f"{block}.norm": Elastic(over=hidden), f"{block}.linear": Elastic(out=hidden, into=hidden)}
    found |= {"head.flat": Elastic(into=hidden), "head.tall.0": Elastic(out=inner, into=hidden)}
    return found | {"head.tall.2": Elastic(into=inner)}


class Branches(nn.Module):
    """Grouped, depthwise and flattened convolutions, concatenation, kernels, a raw concat of three widths."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(2, 6, 5, padding=2)
        self.bn = nn.BatchNorm2d(14)
        self.mix = nn.Conv2d(14, 16, 1, bias=False)
        self.depthwise = nn.Conv2d(16, 16, 5, padding=2, groups=16)
        self.narrowed = nn.Conv2d(16, 16, 3, padding="same", groups=4)  # groups stay, each gets narrower
        self.multiplied = nn.Conv2d(16, 32, 3, padding=1, groups=16)  # depthwise, two filters a channel
        self.back = nn.Conv2d(32, 12, 1)
        self.dropped = nn.Conv2d(12, 18, 3, padding=1, groups=6, padding_mode="reflect")  # whole groups go
        self.bn2 = nn.BatchNorm2d(18)
        self.classifier = nn.Linear(18 * 4, 5)

    def forward(self, x):
        x = F.relu(self.bn(torch.cat([self.left(x), self.right(x)], 1)))
        x = F.relu(self.mix(x))
        x = x + self.depthwise(x)
        x = F.relu(self.narrowed(x))
        x = self.back(F.relu(self.multiplied(x)))
        x = F.adaptive_avg_pool2d(F.relu(self.bn2(self.dropped(x))), 2)
        return self.classifier(x.flatten(1))


def branches_elastic(policy="kernel_transform"):
    left, right = Width("left", (2, 5, 8)), Width("right", (3, 6))
    part, groups = Width("part", (1, 3, 4)), Width("groups", (2, 4, 6))
    mixed = 4 * part
    return {
        "left": Elastic(out=left),
        "right": Elastic(out=right, kernel=Kernel("right.kernel", (1, 3, 5), policy)),
        "bn": Elastic(over=left + right),
        "mix": Elastic(into=left + right, out=mixed),
        "depthwise": Elastic(over=mixed, kernel=Kernel("depthwise.kernel", (3, 5), policy)),
        "narrowed": Elastic(out=mixed, into=mixed, kernel=Kernel("narrowed.kernel", (1, 3))),
        "multiplied": Elastic(over=mixed),
        "back": Elastic(into=mixed * 2, out=groups * 2),
        "dropped": Elastic(into=groups * 2, out=groups * 3),
        "bn2": Elastic(over=groups * 3),
        "classifier": Elastic(into=groups * 3 * 4),
    }


def lively(supernet, *inputs):
    """Running statistics and policy matrices away from where they start, so that a mix-up shows."""
    supernet.train()
    with torch.no_grad():
        supernet(*inputs)
        for parameter in supernet.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return supernet.eval()


@pytest.fixture(scope="session")
def mlp_inputs():
    return (torch.randn(7, 6, generator=torch.Generator().manual_seed(1)),)


@pytest.fixture(scope="session")
def branches_inputs():
    return (torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(2)),)


@pytest.fixture(scope="session")
def convnet_inputs():
    return (torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(3)),)


@pytest.fixture(scope="module")
def mlp(mlp_inputs):
    torch.manual_seed(0)
    return lively(Supernet(Mlp(), mlp_elastic(), example_inputs=mlp_inputs), *mlp_inputs)


@pytest.fixture(scope="module")
def branches(branches_inputs):
    torch.manual_seed(0)
    return lively(Supernet(Branches(), branches_elastic(), example_inputs=branches_inputs), *branches_inputs)


@pytest.fixture(scope="module")
def convnet(convnet_inputs):
    torch.manual_seed(0)
    net = ResidualConvNet.build(channels=1, classes=10, image_size=8, kernel_policy="kernel_transform")
    return lively(net, *convnet_inputs)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(params=["mlp", "branches", "convnet"])
def case(request):
    """A supernet and inputs for it."""
    return Case((request.getfixturevalue(request.param), request.getfixturevalue(f"{request.param}_inputs")))


@pytest.fixture
def models():
    """The classes and declarations of the small models."""
    return {"mlp": (Mlp, mlp_elastic), "branches": (Branches, branches_elastic), "block": Residual}
