"""A tiny supernet of one's own and loaders for it."""

import numpy as np
import pytest
import torch
from torch import nn

import archsmith as smith


@pytest.fixture(autouse=True)
def _on_steady_clocks(clock):
    """Every search here measures, and none has to know the machine."""


def network():
    """``module:factory`` of the tests: two widths, 4 x 4 architectures."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    one, two = smith.Width("one", (4, 8, 12, 16)), smith.Width("two", (4, 8, 12, 16))
    axes = {"0": smith.Elastic(out=one), "2": smith.Elastic(into=one, out=two), "4": smith.Elastic(into=two)}
    return smith.elastic(model, torch.zeros(1, 6), axes)


@pytest.fixture
def supernet():
    return network()


@pytest.fixture
def loader():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 6)).astype("float32")
    y = x[:, :3].argmax(1)
    return [(torch.from_numpy(x[i : i + 40]), torch.from_numpy(y[i : i + 40])) for i in (0, 40, 80)]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The same network as a module that can be imported by name."""
    text = (
        "import torch\nfrom torch import nn\nimport archsmith as smith\n"
        "def make():\n"
        "    with torch.random.fork_rng(devices=[]):\n"
        "        torch.manual_seed(0)\n"
        "        model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))\n"
        "    one, two = smith.Width('one', (4, 8, 12, 16)), smith.Width('two', (4, 8, 12, 16))\n"
        "    axes = {'0': smith.Elastic(out=one), '2': smith.Elastic(into=one, out=two),\n"
        "            '4': smith.Elastic(into=two)}\n"
        "    return smith.elastic(model, torch.zeros(1, 6), axes)\n"
        "def other():\n"
        "    return smith.elastic(nn.Sequential(nn.Linear(6, 3)), torch.zeros(1, 6), {})\n"
    )
    (tmp_path / "tiny_network_of_mine.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return "tiny_network_of_mine:make"
