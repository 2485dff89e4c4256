"""Sizes that are plain numbers in a model's code: read from attributes of graph modules instead."""

import copy
import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn
from torch.nn import functional as F

import archsmith as smith
from archsmith.discovery.literals import lifted_again, with_lifted_sizes
from archsmith.errors import InvalidModel, InvalidOption
from archsmith.testing import supernets as laws


class Attention(nn.Module):
    """Heads and head size as numbers in the code, written in several ways; dropout by a flag."""

    def __init__(self, way, size=32):
        super().__init__()
        self.qkv, self.proj = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.way, self.rate = way, 0.3

    def forward(self, x):
        b, n, c = x.shape
        qkv = self.qkv(x)
        if self.way == "view":
            q, k, v = qkv.view(b, n, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        elif self.way == "divided":
            q, k, v = qkv.reshape(b, n, 3, 4, c // 4).permute(2, 0, 3, 1, 4).unbind(0)
        else:
            q, k, v = qkv.split(32, -1)
            q, k, v = (t.unflatten(-1, (4, 8)).transpose(1, 2) for t in (q, k, v))
        weights = F.dropout((q @ k.transpose(-2, -1) * 0.3).softmax(-1), self.rate, self.training)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, 32 if self.way == "view" else -1))


class Net(nn.Module):
    def __init__(self, way="view"):
        super().__init__()
        with laws.seeded():
            self.embed, self.head = nn.Linear(5, 32), nn.Linear(32, 3)
            self.blocks = nn.ModuleList(
                nn.ModuleDict({"norm": nn.LayerNorm(32), "attention": Attention(way), "mlp": nn.Linear(32, 32)})
                for _ in range(2)
            )

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = x + block["attention"](block["norm"](x))
            x = x + torch.relu(block["mlp"](x))
        return self.head(x)


INPUTS = torch.rand(2, 7, 5, generator=torch.Generator().manual_seed(0))


def elastic(model, inputs=INPUTS, **options):
    return smith.elastic(model, inputs, **{"width": (0.5, 1.0), "multiple": 1, **options})


def check(supernet, inputs=INPUTS, seed=0):
    rng = np.random.default_rng(seed)
    laws.check_coupling(supernet, (inputs,), rng)
    for arch in (supernet.smallest, supernet.random(rng), supernet.largest):
        laws.check_equality(supernet, arch, (inputs,), tolerance=1e-5)
        laws.check_plan(supernet, arch)
    laws.check_as_found(supernet, supernet.random(rng), (inputs,))


@pytest.mark.parametrize("way", ["view", "divided", "split"])
def test_heads_follow_numbers_in_the_code(way):
    model = Net(way).eval()
    kept = elastic(model, via="modules")
    assert not {n for n in kept.space.names if n.endswith("heads")}
    supernet = elastic(model)
    assert {n.rpartition(".")[2] for n in supernet.space.names} >= {"heads", "head_size"}
    assert "number_" in supernet.explain(next(n for n in supernet.space.names if n.endswith("heads")))
    check(supernet)
    torch.testing.assert_close(supernet.eval()(INPUTS), model(INPUTS), rtol=1e-5, atol=1e-6)
    network = supernet.extract(supernet.smallest)
    assert isinstance(network.blocks[0]["attention"], fx.GraphModule)
    assert type(network) is Net
    assert list(network.state_dict()) == list(model.state_dict())


@pytest.mark.slow
def test_what_is_extracted_loads_without_archsmith(tmp_path):
    supernet = elastic(Net())
    network = supernet.extract(supernet.smallest).blocks[0]["attention"]
    x = torch.rand(2, 7, network.qkv.in_features)
    torch.save((network, x, network(x)), tmp_path / "attention.pt")
    script = (
        "import sys; sys.modules['archsmith'] = None; import torch; "
        f"m, x, y = torch.load({str(tmp_path / 'attention.pt')!r}, weights_only=False); "
        "assert torch.equal(m(x), y); m.train(); assert not torch.equal(m(x), m(x))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    exported = torch.export.export(network, (x,))
    torch.testing.assert_close(exported.module()(x), network(x))


def test_the_supernet_survives_copies_and_pickles():
    supernet = elastic(Net()).eval()
    for again in (copy.deepcopy(supernet), pickle.loads(pickle.dumps(supernet))):
        for arch in (supernet.smallest, supernet.largest):
            assert torch.equal(again(INPUTS, arch=arch), supernet(INPUTS, arch=arch))
            assert torch.equal(again.extract(arch)(INPUTS), supernet(INPUTS, arch=arch))


def test_the_model_stays():
    model = Net()
    before = {name: (type(m), dict(vars(m))) for name, m in model.named_modules()}
    elastic(model)
    assert {name: (type(m), dict(vars(m))) for name, m in model.named_modules()} == before


def test_depth_and_numbers_together():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.attention = nn.LayerNorm(32), Attention("view")

        def forward(self, x):
            return x + self.attention(self.norm(x))

    model = nn.Sequential(nn.Linear(5, 32), nn.Sequential(*(Block() for _ in range(3))), nn.Linear(32, 2))
    supernet = elastic(model)
    assert {"1.depth", "1.0.attention.heads", "1.2.attention.heads"} <= set(supernet.space.names)
    check(supernet)


def test_the_whole_model_may_be_replaced():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16 * 4, 5)
            self.pool = nn.AdaptiveAvgPool2d(2)

        def forward(self, x):
            return self.head(self.pool(torch.relu(self.conv(x))).reshape(-1, 64))

    images = torch.rand(4, 3, 8, 8)
    with pytest.raises(InvalidModel, match="nothing in this model can be elastic"):
        elastic(Flat(), images, via="modules")
    supernet = elastic(Flat(), images)
    assert supernet.space.names == ("conv.width",)
    check(supernet, images)
    network = supernet.extract(supernet.smallest)
    assert isinstance(network, fx.GraphModule)
    torch.save(network, io.BytesIO())


@settings(max_examples=10, deadline=None)
@given(heads=st.sampled_from([2, 4, 8]), head_size=st.sampled_from([4, 8]), seed=st.integers(0, 99))
def test_numbers_of_any_size(heads, head_size, seed):
    width = heads * head_size

    class Any(nn.Module):
        def __init__(self):
            super().__init__()
            with laws.seeded(seed):
                self.qkv, self.proj, self.out = nn.Linear(6, 3 * width), nn.Linear(width, 12), nn.Linear(12, 2)

        def forward(self, x):
            q, k, v = self.qkv(x).reshape(x.shape[0], -1, 3, heads, head_size).permute(2, 0, 3, 1, 4)
            return self.out(self.proj(F.scaled_dot_product_attention(q, k, v, scale=0.3).transpose(1, 2).flatten(2)))

    inputs = torch.rand(2, 5, 6)
    supernet = elastic(Any(), inputs)
    assert {"heads", "head_size"} <= {n.rpartition(".")[2] for n in supernet.space.names}
    check(supernet, inputs, seed)


def test_absent_masks_and_switches():
    """Parameters that are no tensors keep the values of the example; by keyword, too."""

    class Masked(Attention):
        def forward(self, x, mask=None, *, scale=True, bias=None):
            x = super().forward(x if mask is None else x * mask)
            return x * 2 + bias if scale else x

    class Caller(nn.Module):
        def __init__(self):
            super().__init__()
            with laws.seeded():
                self.embed, self.attention, self.head = nn.Linear(5, 32), Masked("view"), nn.Linear(32, 2)

        def forward(self, x):
            return self.head(self.attention(self.embed(x), bias=x.mean()))

    supernet = elastic(Caller()).eval()
    assert "attention.heads" in supernet.space.names
    check(supernet)
    module = supernet.extract(supernet.largest).attention
    x, one = torch.rand(2, 7, 32), torch.ones(())
    torch.testing.assert_close(module(x, bias=one), supernet.model.attention(x, None, scale=True, bias=one))
    with pytest.raises(AssertionError, match="mask"):
        module(x, one, bias=one)


# What stays -----------------------------------------------------------------------------------------------------


def test_what_cannot_be_recorded_stays():
    class Deciding(Attention):
        def forward(self, x):
            return super().forward(x) if x.sum() > -1e9 else x

    class Training(Attention):
        def forward(self, x):
            x = super().forward(x)
            return x * 2 if self.training else x

    for kind in (Deciding, Training):
        assert with_lifted_sizes(kind("view")) is None
        model = nn.Sequential(nn.Linear(5, 32), kind("view"), nn.Linear(32, 2))
        supernet = elastic(model)
        assert "1.heads" not in supernet.space.names
        assert not any(isinstance(m, fx.GraphModule) for m in supernet.modules())


def test_only_what_needs_it_is_replaced():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.size = nn.Linear(32, 32), 32

        def forward(self, x):
            return self.inner(x).reshape(-1, 7, self.size)

    assert with_lifted_sizes(Named()) is not None  # 7 is a number
    supernet = elastic(nn.Sequential(nn.Linear(5, 32), Named(), Attention("view"), nn.Linear(32, 2)))
    kinds = [type(m).__name__ for m in supernet.model]
    assert isinstance(supernet.model[2], fx.GraphModule)
    assert not isinstance(supernet.model[1], fx.GraphModule), kinds


def test_hooked_and_shared_modules_stay():
    hooked, shared = Attention("view"), Attention("view")
    hooked.register_forward_hook(lambda _module, _args, output: output)
    supernet = elastic(nn.Sequential(nn.Linear(5, 32), hooked, shared, shared, nn.Linear(32, 2)))
    assert not any(isinstance(m, fx.GraphModule) for m in supernet.modules())


def test_a_forward_that_assigns_attributes_leaves_nothing_behind():
    class Remembering(Attention):
        def forward(self, x):
            self.last = x.shape
            return super().forward(x)

    module = Remembering("view")
    assert with_lifted_sizes(module) is not None
    assert "last" not in vars(module)


def test_numbers_come_back_after_pickling():
    module = with_lifted_sizes(Attention("view"))
    again = pickle.loads(pickle.dumps(module))
    assert "number_0" not in again.code
    lifted_again(again)
    assert again.code == module.code
    assert [vars(again)[f"number_{i}"] for i in range(4)] == [3, 4, 8, 32]


def test_bad_input():
    with pytest.raises(InvalidOption, match="via is one of auto, modules, graph"):
        elastic(Net(), via="magic")
    with pytest.raises(InvalidOption, match="copy=False"):
        elastic(Net(), via="graph", copy=False)
    untouched = Net()
    supernet = elastic(untouched, copy=False)
    assert supernet.model is untouched
    assert not any(isinstance(m, fx.GraphModule) for m in untouched.modules())
