"""Any model: what a trace finds obeys the laws of supernets, on networks drawn at random and on special cases."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import archsmith as smith
from archsmith.errors import InvalidModel, InvalidOption, UnknownName
from archsmith.testing import supernets as laws


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return F.relu(x + self.inner(x))


class Dense(nn.Module):
    """Concatenates what it makes with what it got."""

    def __init__(self, width, growth):
        super().__init__()
        self.make = nn.Conv2d(width, growth, 3, padding=1)

    def forward(self, x):
        return torch.cat([x, self.make(x)], 1)


class Excite(nn.Module):
    """Squeeze-and-excitation."""

    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Halves(nn.Module):
    """Half of the channels pass, the others are convolved; then they are shuffled (ShuffleNet)."""

    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width // 2, width // 2, 3, padding=1)

    def forward(self, x):
        left, right = x.chunk(2, 1)
        x = torch.cat([left, self.conv(right)], 1)
        b, c, h, w = x.shape
        return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


class Scaled(nn.Module):
    """A raw parameter over the channels (layer scale)."""

    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x):
        return x * self.scale[:, None, None]


class Gated(nn.Module):
    """A gated linear unit over channels."""

    def __init__(self, width):
        super().__init__()
        self.both, self.back = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x):
        return self.back(F.glu(self.both(x), 1))


class Standardised(nn.Conv2d):
    """A convolution whose weight is standardised per filter."""

    def forward(self, x):
        w = F.batch_norm(self.weight.reshape(1, self.out_channels, -1), None, None, training=True)
        return self._conv_forward(x, w.reshape_as(self.weight), self.bias)


def conv(width):
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())


# name -> the layer for so many channels (a multiple of 8), and how many come out
LAYERS = {
    "conv": lambda w: (conv(w), w),
    "wide": lambda w: (nn.Conv2d(w, w + 8, 1), w + 8),
    "residual": lambda w: (Residual(conv(w)), w),
    "bottleneck": lambda w: (Residual(nn.Sequential(nn.Conv2d(w, 8, 1), nn.ReLU(), nn.Conv2d(8, w, 1))), w),
    "grouped": lambda w: (
        nn.Sequential(nn.Conv2d(w, 2 * w, 3, padding=1, groups=4), nn.ReLU(), nn.Conv2d(2 * w, w, 1)),
        w,
    ),
    "depthwise": lambda w: (nn.Sequential(nn.Conv2d(w, w, 5, padding=2, groups=w), nn.Conv2d(w, w, 1)), w),
    "multiplier": lambda w: (nn.Conv2d(w, 2 * w, 3, padding=1, groups=w), 2 * w),
    "dense": lambda w: (Dense(w, 8), w + 8),
    "excite": lambda w: (Excite(w), w),
    "halves": lambda w: (Halves(w), w),
    "scaled": lambda w: (Scaled(w), w),
    "gated": lambda w: (Residual(Gated(w)), w),
    "group_norm": lambda w: (nn.GroupNorm(4, w), w),
    "instance_norm": lambda w: (nn.InstanceNorm2d(w, affine=True), w),
    "transposed": lambda w: (nn.ConvTranspose2d(w, 8, 2, 2), 8),
    "standardised": lambda w: (Standardised(w, w, 3, padding=1), w),
    "pixels": lambda w: (nn.Sequential(nn.Conv2d(w, 4 * w, 1), nn.PixelShuffle(2), nn.MaxPool2d(2)), w),
    "pooled": lambda w: (nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2)), w),
    "prelu": lambda w: (nn.PReLU(w), w),
    "stack": lambda w: (nn.Sequential(*(Residual(conv(w)) for _ in range(3))), w),
}


class Net(nn.Module):
    """A stem, drawn layers, and a classifier behind a flatten or a mean."""

    def __init__(self, names, *, flat, seed=0):
        super().__init__()
        with laws.seeded(seed):
            width, layers = 8, [nn.Conv2d(3, 8, 3, padding=1)]
            for name in names:
                layer, width = LAYERS[name](width)
                layers.append(layer)
            self.layers, self.flat = nn.Sequential(*layers), flat
            self.pool, self.head = nn.AdaptiveAvgPool2d(2 if flat else 1), nn.Linear(width * (4 if flat else 1), 5)
            for norm in (m for m in self.modules() if isinstance(m, nn.BatchNorm2d)):
                norm.running_mean.normal_()
                norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        return self.head(self.pool(self.layers(x)).flatten(1))


IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def elastic(model, inputs=IMAGES, **options):
    return smith.elastic(model, inputs, **{"width": (0.5, 1.0), "multiple": 1, **options})


def check_laws(supernet, inputs, seed=0):
    rng = np.random.default_rng(seed)
    laws.check_coupling(supernet, inputs, rng)
    for arch in (supernet.smallest, supernet.random(rng), supernet.largest):
        laws.check_equality(supernet, arch, inputs, tolerance=1e-5)
        laws.check_plan(supernet, arch)
    laws.check_as_found(supernet, supernet.random(rng), inputs)


@settings(max_examples=12, deadline=None)
@given(
    names=st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=4), flat=st.booleans(), seed=st.integers(0, 99)
)
def test_networks_drawn_at_random(names, flat, seed):
    check_laws(elastic(Net(names, flat=flat, seed=seed)), (IMAGES,), seed)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_every_weight_of_a_layer_is_elastic(name):
    """Nothing of a known layer stays rigid: it stands between two convolutions, and nothing fixes its channels."""
    model = nn.Sequential(nn.Conv2d(3, 16, 1), LAYERS[name](16)[0])
    model.append(nn.Conv2d(LAYERS[name](16)[1], 4, 1))
    supernet = elastic(model)
    held = {f"{m}.{t}" for m, d in supernet.structure.declared.items() for t, axes in d.tensors.items() if any(axes)}
    assert {n for n, p in model.named_parameters() if n not in held} == {"2.bias"}
    check_laws(supernet, (IMAGES,))


def test_the_largest_gives_the_original_outputs_and_the_model_stays():
    model = Net(["residual", "grouped", "dense", "stack"], flat=True).eval()
    before = copy.deepcopy(model.state_dict())
    supernet = elastic(model).eval()
    torch.testing.assert_close(supernet(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-6)
    untouched = elastic(model, importance=None).eval()
    assert torch.equal(untouched(IMAGES), model(IMAGES))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not model._forward_hooks
    assert not any(hasattr(v, "origin") for m in model.modules() for v in vars(m).values())


# Attention ------------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Fused or separate projections, a head size that is stored or derived, grouped keys and values."""

    def __init__(self, size, heads, *, fused=True, stored=True, groups=None, tied=False):
        super().__init__()
        self.num_heads, self.groups, self.fused, self.stored, self.tied = heads, groups or heads, fused, stored, tied
        self.repeats = heads // self.groups
        self.head_dim = size // heads
        kept = self.groups * self.head_dim
        if fused:
            self.qkv = nn.Linear(size, 3 * size)
        else:
            self.q, self.k, self.v = nn.Linear(size, size), nn.Linear(size, kept), nn.Linear(size, kept)
        self.proj = nn.Linear(size, size)

    def forward(self, x):
        b, n, c = x.shape
        if self.fused and self.stored:
            q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        elif self.fused:
            q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, c // self.num_heads).permute(2, 0, 3, 1, 4)
        else:
            q = self.q(x).view(b, n, -1, self.head_dim).transpose(1, 2)
            k, v = (
                m(x)
                .view(b, n, -1, self.head_dim)
                .transpose(1, 2)[:, :, None]
                .expand(b, self.groups, self.repeats, n, self.head_dim)
                .reshape(b, -1, n, self.head_dim)
                for m in (self.k, self.v)
            )
        if self.tied:
            x = (F.softmax(q @ k.transpose(-2, -1) * self.head_dim**-0.5, -1) @ v).transpose(1, 2).reshape(b, n, c)
        else:
            x = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, -1)
        return self.proj(x)


class Block(nn.Module):
    def __init__(self, size, attention):
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(size), attention, nn.LayerNorm(size)
        self.fc1, self.fc2 = nn.Linear(size, 2 * size), nn.Linear(2 * size, size)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Encoder(nn.Module):
    def __init__(self, size=32, heads=4, depth=2, vocabulary=11, **options):
        super().__init__()
        with laws.seeded():
            self.embed = nn.Embedding(vocabulary, size)
            self.position = nn.Parameter(torch.randn(1, 7, size))
            self.blocks = nn.ModuleList(Block(size, Attention(size, heads, **options)) for _ in range(depth))
            self.norm = nn.LayerNorm(size)
            self.head = nn.Linear(size, vocabulary, bias=False)
            self.head.weight = self.embed.weight

    def forward(self, tokens):
        x = self.embed(tokens) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


TOKENS = torch.randint(0, 11, (2, 7), generator=torch.Generator().manual_seed(0))
CASES = {
    "fused": {},
    "derived head size": {"stored": False},
    "width of the inputs": {"tied": True},
    "separate": {"fused": False},
    "grouped queries": {"fused": False, "groups": 2},
    "one key for all": {"fused": False, "groups": 1},
}


@pytest.mark.parametrize("case", CASES)
def test_attention(case):
    supernet = elastic(Encoder(**CASES[case]), TOKENS)
    check_laws(supernet, (TOKENS,))
    assert supernet.account().elastic_parameters > 0.99 * supernet.account().parameters
    names = set(supernet.space.names)
    assert "blocks.depth" in names
    assert any("heads" in n for n in names) or case == "one key for all"


def test_choices_of_attention_have_the_names_of_the_field():
    supernet = elastic(Encoder(fused=False, groups=2), TOKENS, depth=1.0)
    mine = [n for n in supernet.space.names if n.startswith("blocks.0") or "." not in n]
    assert mine == [
        "hidden",
        "blocks.0.attn.kv_heads",
        "blocks.0.attn.queries_per_kv",
        "blocks.0.attn.head_size",
        "blocks.0.fc1.width",
    ]


def test_heads_behind_the_head_size():
    """The width of the inputs is heads x head size before attention, and the other way round behind it (NesT)."""

    class Behind(Attention):
        def forward(self, x):
            b, n, c = x.shape
            qkv = self.qkv(x).reshape(b, n, 3, self.num_heads, c // self.num_heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            return self.proj(F.scaled_dot_product_attention(q, k, v).permute(0, 2, 3, 1).reshape(b, n, c))

    model = nn.Sequential(nn.Linear(6, 32), *(Block(32, Behind(32, 4)) for _ in range(2)), nn.Linear(32, 3))
    inputs = torch.rand(2, 7, 6)
    supernet = elastic(model, inputs)
    check_laws(supernet, (inputs,))
    assert supernet.account().elastic_parameters > 0.99 * supernet.account().parameters
    assert sum(n.rpartition(".")[2] in ("heads", "head_size") for n in supernet.space.names) == 2


def test_tied_embeddings_stay_tied():
    supernet = elastic(Encoder(), TOKENS)
    network = supernet.extract(supernet.smallest)
    assert network.head.weight is network.embed.weight
    assert network.embed.weight.shape == (11, 16)


def test_torch_transformer():
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    model = nn.Sequential(
        nn.Linear(5, 32), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, 3)
    )
    inputs = torch.rand(2, 7, 5)
    supernet = elastic(model, inputs)
    check_laws(supernet, (inputs,))
    assert supernet.account().elastic_parameters > 0.99 * supernet.account().parameters


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers(kind):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(11, 16)
            self.rnn = kind(16, 24, num_layers=2, batch_first=True)
            self.head = nn.Linear(24, 3)

        def forward(self, tokens):
            return self.head(self.rnn(self.embed(tokens))[0][:, -1])

    supernet = elastic(Recurrent(), TOKENS)
    check_laws(supernet, (TOKENS,))
    assert supernet.account().elastic_parameters > 0.99 * supernet.account().parameters


# Depth and kernels ----------------------------------------------------------------------------------------------


def test_depth_drops_the_last_blocks_and_counts_anew():
    model = Net(["stack"], flat=False)
    supernet = elastic(model, width=(1.0,), depth=0.3)
    [choice] = supernet.space.choices
    assert choice.name == "layers.1.depth"
    assert choice.options == (1, 2, 3)
    network = supernet.extract(supernet.space.architecture({"layers.1.depth": 2}))
    assert len(network.layers[1]) == 2
    assert type(network.layers[1]) is nn.Sequential
    assert [n for n, _ in network.layers[1].named_children()] == ["0", "1"]
    assert torch.equal(network.layers[1][1].inner[0].weight, supernet.model.layers[1][1].inner[0].weight)


def test_choices_inside_a_block_matter_only_if_it_runs():
    supernet = elastic(Encoder(), TOKENS)
    conditions = {c.name: c.when for c in supernet.space.choices}
    assert conditions["blocks.1.fc1.width"] == ("blocks.depth", (2,))
    assert conditions["blocks.0.fc1.width"] is None


def test_residual_branches_can_be_left_out():
    class Parts(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.norm1, self.attn, self.norm2 = nn.LayerNorm(size), Attention(size, 4), nn.LayerNorm(size)
            self.mlp = nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))
            self.scale = nn.Parameter(torch.rand(size))

        def forward(self, x):
            x = x + self.attn(self.norm1(x))
            return x + F.dropout(self.scale * self.mlp(self.norm2(x)), 0.1, self.training)

    model = nn.Sequential(nn.Linear(6, 32), Parts(32), Parts(32), nn.Linear(32, 3))
    inputs = torch.rand(2, 7, 6)
    supernet = elastic(model, inputs, branches=True).eval()
    branches = [c for c in supernet.space.choices if c.name.endswith("branch")]
    assert [c.name for c in branches] == ["1.attn.branch", "1.mlp.branch", "2.attn.branch", "2.mlp.branch"]
    assert next(c for c in supernet.space.choices if c.name == "1.attn.heads").when == ("1.attn.branch", (True,))
    check_laws(supernet, (inputs,))
    values = {**supernet.largest.to_dict(), "1.attn.branch": False}
    arch = supernet.space.architecture(
        {k: v for k, v in values.items() if k not in ("1.attn.heads", "1.attn.head_size")}
    )
    network = supernet.extract(arch)
    assert isinstance(network[1].attn, nn.Hardshrink)
    x = supernet.model[0](inputs)
    block = supernet.model[1]
    torch.testing.assert_close(network[1](x), x + block.scale * block.mlp(block.norm2(x)))


def test_branches_are_no_depth():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(16, 4, 1)
            self.branches = nn.ModuleList(Residual(conv(8)) for _ in range(2))

        def forward(self, x):
            x = self.stem(x)
            return self.head(torch.cat([b(x) for b in self.branches], 1))

    supernet = elastic(Branches())
    assert "branches.depth" not in supernet.space.names
    assert "beside another block" in supernet.explain("branches.0")
    check_laws(supernet, (IMAGES,))
    without_memory = elastic(Branches().to("meta"), IMAGES.to("meta"), importance=None)
    assert without_memory.space.names == supernet.space.names


def test_kernels():
    model = nn.Sequential(nn.Conv2d(3, 8, 7, padding=3), nn.ReLU(), nn.Conv2d(8, 4, 5), nn.Flatten(), nn.LazyLinear(2))
    model(IMAGES)
    supernet = elastic(model, width=(1.0,))
    assert [(c.name, c.options) for c in supernet.space.choices] == [("0.kernel", (3, 5, 7))]
    assert supernet.extract(supernet.smallest)[0].kernel_size == (3, 3)
    assert "padding" in supernet.structure.reasons["2.kernel"]
    check_laws(supernet, (IMAGES,))


# What users say -------------------------------------------------------------------------------------------------


def test_options_freeze_only_and_tie():
    model = Encoder()
    frozen = elastic(model, TOKENS, freeze=["hidden", "*.attn.*"])
    assert set(frozen.space.names) == {"blocks.depth", "blocks.0.fc1.width", "blocks.1.fc1.width"}
    assert "frozen by 'hidden'" in frozen.explain("hidden")
    only = elastic(model, TOKENS, only=["*.fc1"], options={"*.fc1.width": (16, 48), "blocks.*": (0.5, 1.0)})
    assert [(c.name, c.options) for c in only.space.choices] == [
        ("blocks.0.fc1.width", (16, 48, 64)),
        ("blocks.1.fc1.width", (16, 48, 64)),
    ]
    tied = elastic(model, TOKENS, only=["*.fc1"], tie=["blocks.*.fc1.width"])
    assert tied.space.names == ("blocks.*.fc1.width",)
    check_laws(tied, (TOKENS,))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"freeze": ["blokcs.*"]}, UnknownName, "blokcs"),
        ({"only": "*.fc1"}, InvalidOption, "list of patterns"),
        ({"width": (0.5, 1.5)}, InvalidOption, "1.5"),
        ({"width": ()}, InvalidOption, "width"),
        ({"depth": 0}, InvalidOption, "depth"),
        ({"multiple": 0}, InvalidOption, "multiple"),
        ({"options": {"hidden": (8, 99)}}, InvalidOption, "99"),
        ({"options": {"nothing": (8,)}}, UnknownName, "nothing"),
        ({"tie": ["hidden", "nope"]}, UnknownName, "nope"),
        ({"only": ["blocks.depth"], "freeze": ["blocks"]}, InvalidModel, "nothing in this model can be elastic"),
    ],
)
def test_bad_options_are_named(options, error, words):
    with pytest.raises(error, match=words):
        smith.elastic(Encoder(), TOKENS, **options)


def test_explain_and_account():
    supernet = elastic(Encoder(), TOKENS)
    text = supernet.explain("blocks.0.attn.heads")
    assert "blocks.0.attn.num_heads = blocks.0.attn.heads" in text
    assert "blocks.0.attn.qkv.weight, dimension 0: 3*blocks.0.attn.heads*blocks.0.attn.head_size" in text
    assert "can be left out" in supernet.explain("blocks.1.fc2")
    assert "hidden" in supernet.explain("norm.weight")
    with pytest.raises(UnknownName, match=r"blocks\.0\.attn"):
        supernet.explain("blocks.0.atn")
    account = supernet.account()
    assert account.rigid == ()
    assert f"{supernet.space.size()}; " in str(account)


# What cannot be followed ----------------------------------------------------------------------------------------


class Hard(nn.Module):
    """Numbers that no attribute gives, positions that matter, an operator that nobody knows, values that decide."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.first, self.second, self.free = kind, nn.Linear(6, 16), nn.Linear(16, 8), nn.Linear(8, 16)
        self.last = nn.Linear(16, 3)

    def forward(self, x):
        x = self.first(x)
        if self.kind == "hard-coded":
            x = x.reshape(-1, 16)
        elif self.kind == "position":
            x = x * torch.arange(16.0, device=x.device)
        elif self.kind == "sorted":
            x = x.sort(-1)[0]
        elif self.kind == "value" and x.sum() > -1e9:
            x = x + 1
        elif self.kind == "rolled":
            x = x.roll(1, -1)
        elif self.kind == "constant":
            x = x + torch.ones(16)
        return self.last(F.relu(self.free(self.second(x))))


@pytest.mark.parametrize("kind", ["hard-coded", "position", "sorted", "rolled", "value", "constant"])
def test_what_cannot_follow_is_frozen_with_its_reason(kind):
    inputs = torch.rand(4, 6)
    supernet = elastic(Hard(kind), inputs, via="modules")
    assert "free.width" in supernet.space.names
    if kind == "value":
        assert "first.width" in supernet.space.names
    elif kind == "constant":
        assert "first.width" not in supernet.space.names
    else:
        assert "first.width" not in supernet.space.names
        assert "does not vary" in supernet.explain("first.width" if kind == "hard-coded" else "first.weight")
    check_laws(supernet, (inputs,))
    assert ("first.width" in elastic(Hard(kind), inputs).space.names) == (kind in ("hard-coded", "value"))


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(InvalidModel, match=r"does not run on the example inputs.*Give inputs of one call"):
        smith.elastic(Net(["conv"], flat=False), torch.rand(2, 4, 8, 8))


def test_outputs_of_any_kind():
    class Many(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.left, self.right = nn.Linear(6, 16), nn.Linear(16, 3), nn.Linear(16, 2)

        def forward(self, x, *, scale=1.0):
            x = F.relu(self.stem(x)) * scale
            return {"left": self.left(x), "both": (self.right(x), None)}

    inputs = {"x": torch.rand(4, 6), "scale": 2.0}
    supernet = elastic(Many(), inputs).eval()
    assert supernet.space.names == ("stem.width",)
    small = supernet.smallest
    one, two = supernet(**inputs, arch=small), supernet.extract(small)(**inputs)
    assert torch.equal(one["left"], two["left"])
    assert torch.equal(one["both"][0], two["both"][0])


def test_what_only_training_runs_follows_too():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head, self.extra = nn.Linear(6, 16), nn.Linear(16, 3), nn.Linear(16, 3)

        def forward(self, x):
            x = F.relu(self.stem(x))
            return (self.head(x), self.extra(x)) if self.training else self.head(x)

    supernet = elastic(Auxiliary(), torch.rand(4, 6)).train()
    outputs = supernet(torch.rand(4, 6), arch=supernet.smallest)
    assert [tuple(o.shape) for o in outputs] == [(4, 3), (4, 3)]


def test_modules_called_twice_and_shared():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.block, self.head = nn.Linear(6, 16), Residual(nn.Linear(16, 16)), nn.Linear(16, 3)
            self.again = self.block

        def forward(self, x):
            return self.head(self.again(self.block(self.stem(x))))

    inputs = torch.rand(4, 6)
    supernet = elastic(Twice(), inputs)
    check_laws(supernet, (inputs,))
    network = supernet.extract(supernet.smallest)
    assert network.again is network.block


def test_importance_keeps_what_matters():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].weight[:4] *= 1e-3
        model[2].weight[:, :4] *= 1e-3
    inputs = torch.rand(16, 4)
    supernet = elastic(model, inputs).eval()
    gap = (supernet(inputs, arch=supernet.smallest) - model(inputs)).abs().max()
    unsorted = elastic(model, inputs, importance=None).eval()
    assert gap < 0.1 * (unsorted(inputs, arch=unsorted.smallest) - model(inputs)).abs().max()


def test_taylor_importance_follows_the_loss():
    """Two units with large weights that no output depends on go last, where magnitudes would put them first."""
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight[:2] = 10.0
        model[0].bias[:2] = -1000.0  # never active
    inputs, labels = torch.rand(16, 4), torch.randint(0, 2, (16,))
    supernet = elastic(model, inputs, options={"0.width": (2,)}, importance=None)
    with pytest.raises(InvalidOption, match="batches"):
        supernet.sort_units(by="taylor")
    supernet.sort_units(by="taylor", batches=[(inputs, labels)], loss=F.cross_entropy)
    assert all(p.grad is None for p in supernet.parameters())
    torch.testing.assert_close(supernet(inputs, arch=supernet.smallest), model(inputs))


def test_the_user_s_own_loop():
    supernet = elastic(Encoder(), TOKENS)
    optimizer = torch.optim.SGD(supernet.parameters(), 0.1)
    with supernet.sampled(np.random.default_rng(0)):
        loss = F.cross_entropy(supernet(TOKENS).flatten(0, 1), TOKENS.flatten())
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)


def test_a_depth_whose_networks_cannot_be_trained_is_not_offered():
    """Without its last block the branch ends in a ReLU whose output, needed for the gradient, ``+=`` writes into."""

    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 2, 1)
            first = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU(inplace=True))
            self.branch = nn.Sequential(first, nn.Sequential(nn.Conv2d(16, 16, 1)))

        def forward(self, x):
            x = self.stem(x)
            y = self.branch(x)
            y += x
            return self.head(y)

    supernet = elastic(Written(), IMAGES, multiple=4)
    assert "branch.depth" not in [c.name for c in supernet.space.choices]
    assert "writes into its output" in str(supernet.account())
    supernet.train()(IMAGES, arch=supernet.smallest).sum().backward()


def test_depths_by_number_and_by_share():
    model = nn.Sequential(
        nn.Linear(5, 32), nn.Sequential(*(Residual(nn.Sequential(nn.Linear(32, 32))) for _ in range(4)))
    )

    def depths(*sizes):
        supernet = elastic(model, torch.rand(2, 5), options={"1.depth": sizes}, branches=False)
        return next(c.options for c in supernet.space.choices if c.name == "1.depth")

    assert depths(2) == (2, 4)
    assert depths(0.25, 0.75) == (1, 3, 4)
    with pytest.raises(InvalidOption, match=r"1.depth can be 1 to 4 blocks deep; options ask for \[4, 5\]"):
        depths(5)


def test_positions_beyond_those_of_the_example_are_no_choice():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("ids", torch.arange(64))
            self.table, self.up, self.down = nn.Embedding(64, 16), nn.Linear(16, 32), nn.Linear(32, 16)

        def forward(self, x):
            return self.down(torch.relu(self.up(x + self.table(self.ids[: x.shape[1]]))))

    supernet = elastic(Positions(), torch.rand(2, 8, 16))
    assert [c.name for c in supernet.space.choices] == ["up.width"]
    assert "nothing reads it in a call like the example" in supernet.explain("ids")
    supernet.extract(supernet.smallest)(torch.rand(2, 60, 16))
