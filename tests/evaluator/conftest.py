"""A small supernet with batch norms and calibration batches, and data that it can classify."""

import numpy as np
import pytest
import torch
from torch import nn

from archsmith.supernet import Elastic, Supernet, Width


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    return [
        (torch.from_numpy(rng.normal(size=(8, 3, 6, 6)).astype("float32")), torch.from_numpy(rng.integers(0, 4, 8)))
        for _ in range(3)
    ]


@pytest.fixture
def supernet(batches):
    width = Width("width", (4, 8))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
        )
    axes = {"0": Elastic(out=width), "1": Elastic(over=width), "5": Elastic(into=width)}
    made = Supernet(model, axes, example_inputs=(torch.zeros(1, 3, 6, 6),))
    made.record_calibration(batches)
    return made
