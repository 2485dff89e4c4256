"""What stands for modules that are left out: blocks with several inputs and outputs, branches called by keyword."""

import io
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import fx, nn
from torch.nn import functional as F

import archsmith as smith
from archsmith.plan import Plan
from archsmith.structure.passing import places, settled, stand_in_of, standing_in, zeros_in_place_of
from archsmith.testing import supernets as laws
from archsmith.testing.torchvision_stub import define_torchvision_operators

TENSORS = [torch.full((2,), float(i)) for i in range(4)]


# Answers --------------------------------------------------------------------------------------------------------

things = st.one_of(st.sampled_from(TENSORS), st.none(), st.booleans(), st.integers(-3, 3), st.just("text"))
nested = st.recursive(things, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.lists(inner, max_size=3))


def same(one, other):
    if isinstance(one, tuple | list):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other and type(one) is type(other)


@given(args=st.lists(nested, max_size=3), kwargs=st.dictionaries(st.sampled_from("abc"), nested), data=st.data())
def test_an_output_made_of_inputs_is_made_again(args, kwargs, data):
    """Where all that comes out went in, the stand-in gives it; the module gives the same with zeros for the stream."""
    found = places(tuple(args), kwargs)
    went_in = [x for _, x in found]
    tensors = [x for x in went_in if isinstance(x, torch.Tensor)]
    if not tensors:
        assert stand_in_of(None, found) is None
        return
    stream = data.draw(st.sampled_from(tensors))
    rest = data.draw(st.lists(st.sampled_from(went_in), max_size=3))
    output = (stream, *rest)
    stand_in, first, made = stand_in_of(output, found)
    assert first is stream
    assert made == []
    place = next(p for p, x in found if x is stream)
    assert same(standing_in(place, stand_in, lambda x: x)(*args, **kwargs), output)
    zeros = zeros_in_place_of(place, stand_in)(*args, **kwargs)
    assert same(zeros, (torch.zeros_like(stream), *rest))


def test_what_cannot_be_made_has_no_answer():
    assert stand_in_of({"x": TENSORS[0]}, []) is None
    assert stand_in_of((TENSORS[0], object()), []) is None
    assert stand_in_of(3, []) is None
    new = torch.ones(1)
    found = stand_in_of((TENSORS[0], new), [])
    assert found == (("tuple", ("stream",), ("made", 0)), TENSORS[0], [new])
    assert settled(found[0], [("input", ("args", 1))]) == ("tuple", ("stream",), ("input", ("args", 1)))


# Blocks ---------------------------------------------------------------------------------------------------------


class Attending(nn.Module):
    """Attention whose position bias the first layer makes and all share; it also gives its weights."""

    def __init__(self, size, heads, *, first):
        super().__init__()
        self.heads, self.size = heads, size // heads
        self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.table = nn.Embedding(7, heads) if first else None

    def forward(self, hidden, *, mask=None, bias=None):
        b, n, _ = hidden.shape
        q, k, v = self.qkv(hidden).view(b, n, 3, self.heads, self.size).permute(2, 0, 3, 1, 4).unbind(0)
        if bias is None:
            where = torch.arange(n)
            bias = self.table((where[:, None] - where[None]).abs()).permute(2, 0, 1)[None]
        weights = F.softmax(q @ k.transpose(-2, -1) * 0.3 + bias + mask, -1)
        return self.out((weights @ v).transpose(1, 2).reshape(b, n, -1)), bias, weights


class Layer(nn.Module):
    def __init__(self, size, heads, *, first):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(size), Attending(size, heads, first=first)
        self.mlp = nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))

    def forward(self, mask, hidden, bias):
        more, bias, weights = self.attention(self.norm(hidden), bias=bias, mask=mask)
        hidden = hidden + more
        return hidden + self.mlp(hidden), (bias, weights)


class Shared(nn.Module):
    """Layers that get a mask, the stream, and the bias of the first one (T5); ``reads`` their weights too."""

    def __init__(self, *, reads=False, size=32):
        super().__init__()
        with laws.seeded():
            self.embed, self.head = nn.Linear(5, size), nn.Linear(size, 3)
            self.layers = nn.ModuleList(Layer(size, 4, first=i == 0) for i in range(3))
        self.reads = reads

    def forward(self, x):
        hidden, bias, read = self.embed(x), None, 0.0
        mask = torch.zeros(1, 1, x.shape[1], x.shape[1])
        for layer in self.layers:
            hidden, (bias, weights) = layer(mask, hidden, bias)
            read = read + weights.mean() if self.reads else read
        return self.head(hidden) + read


INPUTS = torch.rand(2, 7, 5, generator=torch.Generator().manual_seed(0))


def elastic(model, inputs=INPUTS, **options):
    return smith.elastic(model, inputs, **{"width": (0.5, 1.0), "multiple": 1, **options})


def check(supernet, rng, inputs=INPUTS):
    laws.check_coupling(supernet, (inputs,), rng)
    for arch in (supernet.smallest, *(supernet.random(rng) for _ in range(3)), supernet.largest):
        laws.check_equality(supernet, arch, (inputs,), tolerance=1e-5)
        laws.check_plan(supernet, arch)
    laws.check_as_found(supernet, supernet.random(rng), (inputs,))


def test_blocks_that_share_what_the_first_makes(rng):
    supernet = elastic(Shared(), depth=0.3)
    depth = next(c for c in supernet.space.choices if c.name == "layers.depth")
    assert depth.options == (1, 2, 3)
    assert "other modules need its further outputs" in supernet.explain("layers.0")
    check(supernet, rng)
    network = supernet.extract(supernet.space.architecture({**supernet.smallest.to_dict(), "layers.depth": 1}))
    assert len(network.layers) == 1
    assert network.layers[0].attention.table is not None


def test_blocks_whose_outputs_are_read_stay():
    supernet = elastic(Shared(reads=True), depth=0.3)
    assert "layers.depth" not in supernet.space.names
    assert "other modules need its further outputs" in supernet.explain("layers.2")


class Twin(nn.Module):
    """Two streams that read each other (TNT, CrossViT)."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(16, 16), nn.Linear(24, 24)
        self.over, self.back = nn.Linear(16, 24), nn.Linear(24, 16)

    def forward(self, streams, scale):
        one, two = streams
        one = one + scale * torch.tanh(self.one(one)) + self.back(two)
        return [one, two + torch.tanh(self.two(two)) + self.over(one)], scale


class Twins(nn.Module):
    def __init__(self):
        super().__init__()
        with laws.seeded():
            self.one, self.two = nn.Linear(5, 16), nn.Linear(5, 24)
            self.blocks = nn.ModuleList(Twin() for _ in range(3))
            self.head, self.other, self.scale = nn.Linear(16, 3), nn.Linear(24, 3), nn.Parameter(torch.rand(16))

    def forward(self, x):
        streams, scale = [self.one(x), self.two(x)], self.scale
        for block in self.blocks:
            streams, scale = block(streams, scale)
        return self.head(streams[0]) + self.other(streams[1])


def test_blocks_through_which_two_streams_pass(rng):
    supernet = elastic(Twins(), depth=0.3)
    assert next(c for c in supernet.space.choices if c.name == "blocks.depth").options == (1, 2, 3)
    check(supernet, rng)
    relaxed = elastic(Twins(), depth=0.3, only=["blocks.depth"]).eval()
    for arch in (relaxed.smallest, relaxed.largest):
        laws.check_relaxed(relaxed, arch, (INPUTS,), tolerance=1e-5)


# Branches -------------------------------------------------------------------------------------------------------


def test_branches_called_by_keyword_that_give_several_things(rng):
    supernet = elastic(Shared(), branches=True, depth=1.0)
    branches = [c.name for c in supernet.space.choices if c.name.endswith("branch")]
    assert branches == [
        "layers.0.mlp.branch",
        *(f"layers.{i}.{m}.branch" for i in (1, 2) for m in ("attention", "mlp")),
    ]
    check(supernet, rng)
    values = supernet.largest.to_dict()
    inside = {c.name for c in supernet.space.choices if c.when == ("layers.1.attention.branch", (True,))}
    assert inside
    arch = supernet.space.architecture(
        {**{n: v for n, v in values.items() if n not in inside}, "layers.1.attention.branch": False}
    )
    plan = supernet.plan(arch)
    assert plan.stand_ins["layers.1.attention"][0] == ("args", 0)
    assert Plan.from_json(plan.to_json()) == plan
    network = supernet.extract(arch)
    assert isinstance(network.layers[1].attention, fx.GraphModule)
    mask, bias, x = torch.zeros(1, 1, 7, 7), torch.rand(1, 4, 7, 7), torch.rand(2, 7, 32)
    found, (same_bias, weights) = network.layers[1](mask, x, bias)
    torch.testing.assert_close(found, x + supernet.model.layers[1].mlp(x))
    assert same_bias is bias
    assert weights is None


def test_what_is_extracted_loads_without_archsmith(tmp_path):
    supernet = elastic(Shared(), branches=True, only=["*.branch"])
    network = supernet.extract(supernet.smallest)
    torch.save(network.layers[1].attention, tmp_path / "stand_in.pt")
    script = (
        "import sys; sys.modules['archsmith'] = None; import torch; "
        f"m = torch.load({str(tmp_path / 'stand_in.pt')!r}, weights_only=False); "
        "out = m(torch.ones(2, 3), bias=torch.ones(1)); assert not out[0].any() and out[1].all()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    exported = torch.export.export(network, (INPUTS,))
    torch.testing.assert_close(exported.module()(INPUTS), network(INPUTS))
    torch.save(network, io.BytesIO())


class Cached(nn.Module):
    """A model whose first layer tells how much is in the cache, as decoders do."""

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(16, 16))

        def forward(self, x, cache):
            cache.seen.append(x.shape[1])
            return self.inner(x), cache

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.mixer = nn.LayerNorm(16), Cached.Layer()

        def forward(self, x, cache):
            return x + self.mixer(self.norm(x), cache)[0]

    class Cache:
        def __init__(self):
            self.seen = []

    def __init__(self):
        super().__init__()
        self.blocks, self.head = nn.ModuleList(Cached.Block() for _ in range(3)), nn.Linear(16, 2)

    def forward(self, x):
        cache = Cached.Cache()
        for block in self.blocks:
            x = block(x, cache)
        return self.head(x)


def test_the_first_that_writes_into_a_cache_stays(rng):
    inputs = torch.rand(2, 4, 16)
    supernet = elastic(Cached(), inputs, branches=True, depth=1.0)
    branches = [n for n in supernet.space.names if n.endswith("mixer.branch")]
    assert branches == ["blocks.1.mixer.branch", "blocks.2.mixer.branch"]
    assert "such as a cache" in supernet.explain("blocks.0.mixer.branch")
    check(supernet, rng, inputs)


# Published models -----------------------------------------------------------------------------------------------


def small(kind):
    define_torchvision_operators()
    transformers = pytest.importorskip("transformers")
    sizes = {
        "vocab_size": 61,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "eos_token_id": None,
    }
    sizes |= {"intermediate_size": 64, "num_key_value_heads": 2, "bos_token_id": None, "pad_token_id": 0}
    if kind == "T5":
        sizes = {"vocab_size": 61, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 4}
        sizes |= {"decoder_start_token_id": 0, "eos_token_id": None, "num_decoder_layers": 3}
    head = "ForConditionalGeneration" if kind == "T5" else "ForCausalLM"
    torch.manual_seed(0)
    return getattr(transformers, kind + head)(getattr(transformers, f"{kind}Config")(**sizes)).eval()


@pytest.mark.parametrize(
    ("kind", "depths"),
    [
        pytest.param("T5", ["encoder.block.depth", "decoder.block.depth"], marks=pytest.mark.slow),
        ("Llama", ["model.layers.depth"]),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_language_models_generate_with_fewer_layers(kind, depths):
    """With a cache and without they write the same; whole layers and single branches are left out."""
    model, tokens = small(kind), torch.randint(1, 60, (2, 6), generator=torch.Generator().manual_seed(1))
    inputs = {"input_ids": tokens, **({"decoder_input_ids": tokens[:, :3]} if kind == "T5" else {})}
    supernet = smith.elastic(model, inputs, branches=True, width=(0.5, 1.0))
    assert [n for n in supernet.space.names if n.endswith("depth")] == depths
    network = supernet.extract(supernet.smallest)
    written = [
        network.generate(tokens, max_new_tokens=5, do_sample=False, use_cache=cached) for cached in (True, False)
    ]
    assert torch.equal(*written)
    assert sum(isinstance(m, fx.GraphModule) for m in network.modules()) > 0
