"""Small networks for every operator family: all their weights follow, and the laws hold."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import archsmith as smith
from archsmith.graph.readers.kit.shapes import Shapes
from archsmith.method import names
from archsmith.testing import supernets as laws

GENERATOR = torch.Generator().manual_seed(0)
ROWS = torch.rand(4, 6, generator=GENERATOR)
SEQUENCES = torch.rand(2, 5, 6, generator=GENERATOR)
IMAGES = torch.rand(2, 3, 8, 8, generator=GENERATOR)
TOKENS = torch.randint(0, 11, (2, 5), generator=GENERATOR)


class Between(nn.Module):
    """A function of what a linear layer of 16 units makes, read by another one."""

    def __init__(self, function, *, out=16):
        super().__init__()
        with laws.seeded():
            self.first, self.last = nn.Linear(6, 16), nn.Linear(out, 3)
        self.function = function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


class OnMaps(nn.Module):
    """The same between convolutions."""

    def __init__(self, function, *, out=16):
        super().__init__()
        with laws.seeded():
            self.first, self.last = nn.Conv2d(3, 16, 1), nn.Conv2d(out, 3, 1)
        self.function = function

    def forward(self, x):
        return self.last(self.function(self.first(x))).mean((2, 3))


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        with laws.seeded():
            self.heads, self.size = 4, 4
            self.qkv, self.last = nn.Linear(6, 48), nn.Linear(16, 3)

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        return self.last(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, -1))


class Aggregated(nn.Module):
    """Two branches are weighed by a convolution with a window of one position, whose sequence is the channels."""

    def __init__(self):
        super().__init__()
        with laws.seeded():
            self.one, self.two, self.last = nn.Linear(6, 16), nn.Linear(6, 16), nn.Linear(16, 3)
            self.weigh = nn.Conv1d(2, 1, 1)

    def forward(self, x):
        return self.last(self.weigh(torch.stack([self.one(x), self.two(x)], 1))[:, 0])


class Messages(nn.Module):
    """Sums over the neighbours in a graph (message passing)."""

    def __init__(self):
        super().__init__()
        with laws.seeded():
            self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 3)
        self.register_buffer("source", torch.tensor([0, 1, 2, 3, 0]))
        self.register_buffer("target", torch.tensor([1, 2, 3, 0, 2]))

    def forward(self, x):
        x = self.first(x)
        sent = x.index_select(0, self.source)
        gathered = torch.zeros_like(x).scatter_add_(0, self.target[:, None].expand_as(sent), sent)
        return self.last(gathered + torch.zeros_like(x).index_add(0, self.target, x[self.source]))


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        with laws.seeded():
            self.embed, self.last = nn.Embedding(11, 16), nn.Linear(16, 3)

    def forward(self, tokens):
        return self.last(
            self.embed(tokens).gather(1, (tokens % 5)[..., None].expand(-1, -1, self.embed.weight.shape[1]))
        )


class Rotated(nn.Module):
    """Rotary embedding of neighbouring pairs, whose angles are a buffer."""

    def __init__(self):
        super().__init__()
        with laws.seeded():
            self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 3)
        self.register_buffer("angle", torch.rand(5, 8, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        x = self.first(x)
        left, right = x[..., ::2], x[..., 1::2]
        both = left * self.angle.cos() - right * self.angle.sin(), left * self.angle.sin() + right * self.angle.cos()
        return self.last(torch.stack(both, -1).flatten(-2))


class Parts(nn.Module):
    """Heads are convolved in two unequal parts and fused with the others: equal parts made of unequal ones."""

    def __init__(self):
        super().__init__()
        with laws.seeded():
            self.heads, self.parts = 4, [4, 12]
            self.qkv, self.last = nn.Linear(6, 48), nn.Linear(16, 3)
            self.convs = nn.ModuleList(nn.Conv1d(n, n, 3, padding=1, groups=n) for n in self.parts)

    def forward(self, x):
        for _ in range(2):
            b, n, c = x.shape[0], x.shape[1], self.qkv.out_features // 3
            q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
            pieces = v.transpose(-1, -2).reshape(b, c, n).split(self.parts, 1)
            v = torch.cat([conv(p) for conv, p in zip(self.convs, pieces, strict=True)], 1)
            v = v.reshape(b, self.heads, c // self.heads, n).transpose(-1, -2)
        return self.last((q * v + k).transpose(1, 2).reshape(b, n, c))


def rows(function, **options):
    return Between(function, **options), ROWS


def sequences(function, **options):
    return Between(function, **options), SEQUENCES


def maps(function, **options):
    return OnMaps(function, **options), IMAGES


# family -> case -> a network and its inputs
CASES = {
    "attention": {"fused": lambda: (Heads(), SEQUENCES)},
    "convolutions": {
        "one position": lambda: (Aggregated(), ROWS),
        "transposed": lambda: maps(nn.ConvTranspose2d(16, 8, 2, 2), out=8),
        "transposed in groups": lambda: maps(nn.ConvTranspose2d(16, 8, 2, 2, groups=4), out=8),
        "sequence": lambda: sequences(lambda x: F.avg_pool1d(x.transpose(1, 2), 2).transpose(1, 2)),
    },
    "creation": {
        "as large as": lambda: rows(lambda x: torch.cat([x, torch.ones(x.shape[0], x.shape[1])], 1), out=32),
        "new": lambda: rows(lambda x: x + x.new_ones(x.shape[-1])),
    },
    "elementwise": {
        "where": lambda: rows(lambda x: torch.where(x > 0, x, torch.lerp(x, x * 2, 0.5))),
        "mask": lambda: rows(lambda x: x.masked_fill(x < 0, 0.0).clamp(max=2)),
        "triangle": lambda: sequences(lambda x: (x.mT @ torch.ones(5, 5, dtype=x.dtype).triu()).mT),
    },
    "lookups": {"embedding": lambda: (Embedded(), TOKENS), "messages": lambda: (Messages(), ROWS)},
    "matrix_products": {
        "batches": lambda: sequences(lambda x: F.softmax(x @ x.mT, -1) @ x),
        "sum": lambda: sequences(lambda x: torch.einsum("bnc,bmc,bmd->bnd", x, x, x)),
    },
    "normalisation": {
        "layer": lambda: rows(nn.LayerNorm(16)),
        "rms": lambda: rows(nn.RMSNorm(16)),
        "batch": lambda: maps(nn.BatchNorm2d(16)),
        "group": lambda: maps(nn.GroupNorm(4, 16)),
        "instance": lambda: maps(nn.InstanceNorm2d(16, affine=True)),
    },
    "pieces": {
        "pairs": lambda: (Rotated(), SEQUENCES),
        "shuffle": lambda: maps(nn.ChannelShuffle(4)),
        "gate": lambda: rows(lambda x: F.glu(x, -1), out=8),
        "padding": lambda: rows(lambda x: F.pad(x, (2, 1)), out=19),
        "repeated": lambda: rows(lambda x: x.repeat_interleave(2, 1), out=32),
        "positions": lambda: sequences(lambda x: torch.cat([x[:, :1], x[:, 1:].flip(1)], 1).roll(1, 1)),
        "unequal parts": lambda: (Parts(), torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0))),
    },
    "reductions": {
        "running sum": lambda: sequences(lambda x: x.cumsum(1)),
        "extremes": lambda: sequences(lambda x: x.amax(1) + x.min(1)[0] + x.logsumexp(1)),
        "spread": lambda: sequences(lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1)),
    },
    "spatial": {
        "pooled": lambda: maps(lambda x: F.max_pool2d(x, 2) + F.adaptive_avg_pool2d(x, 4)),
        "resized": lambda: maps(
            lambda x: F.interpolate(F.pad(x, (1, 1, 1, 1), mode="reflect"), scale_factor=2, mode="bilinear")
        ),
        "pixels": lambda: maps(lambda x: F.pixel_unshuffle(x, 2), out=64),
        "unfolded": lambda: maps(lambda x: F.unfold(x, 2, stride=2).view(len(x), -1, 4, 4), out=64),
        "folded": lambda: maps(lambda x: F.fold(F.unfold(x, 2, stride=2), (8, 8), 2, stride=2)),
    },
    "views": {
        "flattened": lambda: sequences(lambda x: x.flatten(1).unflatten(1, (5, -1))),
        "turned": lambda: sequences(lambda x: x.permute(2, 0, 1).unsqueeze(0).squeeze(0).movedim(0, -1)),
        "repeated": lambda: rows(lambda x: x.repeat(1, 2), out=32),
    },
}


def test_every_family_is_here():
    assert set(CASES) == set(names("discovery.operators"))


@pytest.mark.parametrize(("family", "case"), [(f, c) for f, cases in CASES.items() for c in cases])
def test_all_weights_follow_and_the_laws_hold(family, case):
    model, inputs = CASES[family][case]()
    supernet = smith.elastic(model, inputs, width=(0.5, 1.0), multiple=1)
    held = {f"{m}.{t}" for m, d in supernet.structure.declared.items() for t, axes in d.tensors.items() if any(axes)}
    rigid = {n for n, p in model.named_parameters() if n not in held}
    assert rigid <= {"last.bias", "weigh.weight", "weigh.bias"}, supernet.account()
    rng = np.random.default_rng(0)
    laws.check_coupling(supernet, (inputs,), rng)
    for arch in (supernet.smallest, supernet.random(rng), supernet.largest):
        laws.check_equality(supernet, arch, (inputs,), tolerance=1e-5)
        laws.check_plan(supernet, arch)


class Compared(nn.Module):
    """An attribute that is nowhere used but in a comparison with a size."""

    def __init__(self):
        super().__init__()
        self.first, self.last, self.width = nn.Linear(6, 16), nn.Linear(16, 3), 16

    def forward(self, x):
        x = self.first(x)
        if x.shape[-1] != self.width:
            raise ValueError("not as wide as said")
        return self.last(x)


def test_an_attribute_that_a_size_is_compared_with_follows_it():
    supernet = smith.elastic(Compared(), ROWS, width=(0.5, 1.0))
    assert supernet.extract(supernet.smallest).width == 8


def test_a_choice_that_was_right_is_not_proved_again(monkeypatch):
    """One fault among many choices costs no second round of proofs."""
    from archsmith.discovery.proof import Prover

    runs = []
    plain = Prover.wrong
    monkeypatch.setattr(Prover, "wrong", lambda self, plan, expected: runs.append(plan) or plain(self, plan, expected))

    class Hard(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(6 if i == 0 else 16, 16) for i in range(8))
            self.last = nn.Linear(16, 3)

        def forward(self, x):
            for i, layer in enumerate(self.layers):
                x = layer(x)
                x = x.reshape(-1, 16) if i == 3 else x
            return self.last(x)

    supernet = smith.elastic(Hard(), ROWS, width=(0.5, 1.0), via="modules")
    names = set(supernet.space.names)
    assert "layers.3.width" not in names
    assert len(names) == 7
    assert (
        len(runs) <= 8 + 1 + 20 + 2 + 21
    )  # each alone, smallest, random ones, training; and again what follows a fault


CALLS = {
    "convolution": lambda x: F.conv2d(
        x, x.new_empty(6, 2, 3, 3), x.new_empty(6), stride=(2, 1), padding=(1, 0), groups=2
    ),
    "pointwise": lambda x: torch.relu(x + x[:, :1]).mul_(x),
    "joined": lambda x: torch.cat([x, x[:, :2]], 1),
    "batch norm": lambda x: F.batch_norm(x, x.new_empty(4), x.new_empty(4), training=True),
    "layer norm": lambda x: F.layer_norm(x, (7,), x.new_empty(7)),
    "products": lambda x: torch.baddbmm(x.new_empty(5), x[0], x[0].mT @ x.new_empty(4, 6, 5)),
    "comparison": lambda x: torch.where(x > 0, x, 0.0).isnan().sum(),
    "resized": lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear", antialias=True),
    "several": lambda x: torch.var_mean(x, dim=(1, 2), keepdim=True)[0],
    "numbers": lambda x: torch.arange(4, device=x.device) + torch.ones(3, 1, dtype=torch.long, device=x.device),
}


@pytest.mark.parametrize("call", CALLS)
def test_shapes_that_are_said_or_remembered_are_those_of_torch(call):
    x = torch.empty(2, 4, 6, 7, device="meta")
    plain, memory = CALLS[call](x), {}
    for _ in range(2):
        with Shapes(memory):
            found = CALLS[call](x)
        assert (found.shape, found.dtype) == (plain.shape, plain.dtype)


def test_what_does_not_fit_is_torch_s_to_refuse():
    x = torch.empty(2, 4, 6, 7, device="meta")
    for wrong in (lambda: F.conv2d(x, x.new_empty(6, 3, 3, 3)), lambda: torch.cat([x, x[:, :, :2]], 1)):
        with pytest.raises(RuntimeError), Shapes({}):
            wrong()
