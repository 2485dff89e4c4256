"""Files with quantised layers: which layers there are, what is quantised, and how far outputs move."""

import io
import logging
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import archsmith as smith
from archsmith.errors import InvalidModel, InvalidOption
from archsmith.export.onnx import Onnx
from archsmith.export.onnx_tools.fast_exporter import candidate_onnx
from archsmith.export.onnx_tools.onnx_file import OnnxFile
from archsmith.export.onnx_tools.quantising import Policy, Quantisable, is_quantised
from archsmith.export.slicing.sliced_export import SlicedExport


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.one, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.two = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.relu(x + self.two(torch.relu(self.norm(self.one(x)))))


class Net(nn.Module):
    """A convolution, two residual blocks, and a classifier in a module called as exporters call what they add."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU())
        self.blocks = nn.Sequential(Block(16), Block(16))
        self.pool, self.network = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 4)

    def forward(self, image):
        return self.network(self.pool(self.blocks(self.stem(image))).flatten(1))


class Sentences(nn.Module):
    """An embedding, a transformer's feed-forward part, and the embedding once more as the output: tied weights."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 64)
        self.ffn = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64))

    def forward(self, ids):
        x = self.embed(ids)
        return (x + self.ffn(x)) @ self.embed.weight.T


LAYERS = ["stem.0", "blocks.0.one", "blocks.0.two", "blocks.1.one", "blocks.1.two", "network"]


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def images(count, seed=0):
    rng = np.random.default_rng(seed)
    return [(torch.from_numpy(rng.normal(size=(2, 3, 8, 8)).astype("float32")),) for _ in range(count)]


@pytest.fixture(scope="module")
def net():
    return seeded(Net)


@pytest.fixture(scope="module")
def whole(net):
    return Quantisable(candidate_onnx(net, images(1)[0]), [n for n, _ in net.named_modules()])


@pytest.fixture(scope="module")
def ranges(whole):
    return whole.ranges(images(4))


def quantised_layers(content):
    """Layers whose weights are integers in a file, by what feeds the operators that have weights."""
    graph = onnx.ModelProto.FromString(content).graph
    made = {out: node for node in graph.node for out in node.output}
    integers = {w.name for w in graph.initializer if w.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.INT4)}
    found = set()
    for node in graph.node:
        weight = made.get(node.input[1]) if node.op_type in ("Conv", "Gemm", "MatMul") else None
        if weight is not None and weight.op_type == "DequantizeLinear" and weight.input[0] in integers:
            found.add(node.name.rpartition("#")[0])
    return found


def moved(network, content, inputs):
    with torch.no_grad():
        right, found = network(*inputs), OnnxFile(content)(*inputs)
    return float((right - found).abs().max() / right.abs().max())


class TestLayers:
    def test_are_named_as_the_modules_by_every_exporter(self, net, tmp_path):
        names = [n for n, _ in net.named_modules()]
        supernet = smith.elastic(net, images(1)[0], via="modules")
        by_name = smith.elastic(net, {"image": images(1)[0][0]}, via="modules")
        Onnx().write(net, images(1)[0], tmp_path / "a.onnx")
        Onnx().write(net, images(1)[0], tmp_path / "b.onnx", names=("image",))
        contents = [
            candidate_onnx(net, images(1)[0]),
            SlicedExport(supernet, images(1)[0])(supernet.largest),
            SlicedExport(by_name, images(1)[0], ("image",))(by_name.largest),
            (tmp_path / "a.onnx").read_bytes(),
            (tmp_path / "b.onnx").read_bytes(),
        ]
        for content in contents:
            assert {*Quantisable(content, names).layers} == {*LAYERS}

    def test_only_matrix_products_can_have_four_bits(self):
        model = seeded(Sentences)
        found = Quantisable(candidate_onnx(model, (torch.zeros(2, 5, dtype=torch.long),))).layers
        assert found["embed"] == ("fp32", "int8")
        assert found["ffn.0"] == found["ffn.2"] == ("fp32", "int8", "int4")

    def test_what_is_no_file_is_refused(self):
        model = onnx.helper.make_model(
            onnx.helper.make_graph([onnx.helper.make_node("Nothing", [], ["y"])], "g", [], [])
        )
        with pytest.raises(InvalidModel, match="cannot read the network"):
            Quantisable(model.SerializeToString())


class TestQuantised:
    @settings(max_examples=12, deadline=None)
    @given(chosen=st.sets(st.sampled_from(LAYERS)))
    def test_exactly_the_chosen_layers_are(self, net, whole, ranges, chosen):
        content = whole.quantised(Policy(dict.fromkeys(chosen, "int8")), ranges, weight_bits=7)
        assert quantised_layers(content) == chosen
        assert is_quantised(content) == bool(chosen)
        assert moved(net, content, images(1)[0]) < (0.05 if chosen else 1e-5)

    def test_a_file_is_the_same_every_time(self, whole, ranges):
        policy = Policy(default="int8")
        assert whole.quantised(policy, ranges) == whole.quantised(policy, ranges)

    def test_all_in_int8_is_a_quarter_and_computes_in_integers(self, net, whole, ranges):
        content = whole.quantised(Policy(default="int8"), ranges)
        weights = sum(p.numel() for p in net.parameters())
        graph = onnx.ModelProto.FromString(content).graph
        assert sum(len(w.raw_data) for w in graph.initializer if w.data_type == onnx.TensorProto.INT8) > 0.9 * weights
        assert not [w for w in graph.initializer if w.data_type == onnx.TensorProto.FLOAT and len(w.dims) > 1]
        # every sum and activation between int8 layers stays quantised: each reads what was dequantised
        made = {out: node.op_type for node in graph.node for out in node.output}
        for node in graph.node:
            if node.op_type in ("Add", "GlobalAveragePool"):
                assert {made[name] for name in node.input} == {"DequantizeLinear"}

    def test_seven_bits_leave_room(self, whole, ranges):
        graph = onnx.ModelProto.FromString(whole.quantised(Policy(default="int8"), ranges, weight_bits=7)).graph
        weights = [onnx.numpy_helper.to_array(w) for w in graph.initializer if w.data_type == onnx.TensorProto.INT8]
        wide = [w for w in weights if w.ndim > 1]
        assert len(wide) == len(LAYERS)
        assert max(int(np.abs(w.astype(int)).max()) for w in wide) <= 64

    def test_four_bits(self):
        model = seeded(Sentences)
        ids = torch.arange(10).reshape(2, 5)
        network = Quantisable(candidate_onnx(model, (ids,)))
        spans = network.ranges([(ids,)])
        four = network.quantised(Policy({"ffn": "int4"}), spans)
        both = network.quantised(Policy({"ffn.0": "int4", "ffn.2": "int8"}), spans, weight_bits=7)
        plain = network.quantised(Policy(), spans)
        assert quantised_layers(four) == quantised_layers(both) == {"ffn.0", "ffn.2"}
        assert len(plain) - len(four) > 0.85 * 4 * 2 * 64 * 128 * 0.95
        assert moved(model, four, (ids,)) < 0.1
        assert moved(model, both, (ids,)) < 0.1

    def test_logging_here_stays_as_it_is(self):
        x = (torch.zeros(2, 3, 32),)
        before = [*logging.root.handlers], logging.root.level
        file = Quantisable(candidate_onnx(nn.Linear(32, 64).eval(), x))
        assert file.quantised(Policy(default="int4"), {})
        assert ([*logging.root.handlers], logging.root.level) == before

    @pytest.mark.slow
    def test_logging_of_the_user_stays_as_it_is(self):
        code = (
            "import logging, torch\n"
            "from torch import nn\n"
            "from archsmith.export.onnx_tools.fast_exporter import candidate_onnx\n"
            "from archsmith.export.onnx_tools.quantising import Policy, Quantisable\n"
            "x = (torch.zeros(2, 3, 32),)\n"
            "file = Quantisable(candidate_onnx(nn.Linear(32, 64).eval(), x))\n"
            "print(len(file.quantised(Policy(default='int4'), {})) > 0, logging.root.handlers, logging.root.level)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "True [] 30"

    def test_tied_weights_are_quantised_where_it_is_asked(self):
        model = seeded(Sentences)
        ids = torch.arange(10).reshape(2, 5)
        network = Quantisable(candidate_onnx(model, (ids,)))
        content = network.quantised(Policy({"embed": "int8"}), network.ranges([(ids,)]))
        assert is_quantised(content)
        assert moved(model, content, (ids,)) < 0.05

    def test_a_layer_that_cannot_stays_as_it_is(self, whole):
        assert {*whole.precisions(Policy(default="int4")).values()} == {"fp32"}

    def test_ranges_that_are_missing_are_said(self, whole):
        with pytest.raises(InvalidModel, match="cannot be quantised"):
            whole.quantised(Policy(default="int8"), {})


class Masked(nn.Module):
    """Attention with a mask of minus infinity, beside layers; and, where asked, before one of them."""

    def __init__(self, *, before=False):
        super().__init__()
        self.before, self.one, self.two = before, nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x):
        x = self.one(x)
        mask = torch.full((32,), float("-inf")).index_fill(0, torch.arange(8), 0.0)
        return self.two(x + mask) if self.before else self.two(torch.softmax(x + mask, -1))


class TestValuesThatAreNotFinite:
    def ready(self, **how):
        x = (torch.randn(8, 16, generator=torch.Generator().manual_seed(0)),)
        network = seeded(lambda: Masked(**how))
        file = Quantisable(candidate_onnx(network, x))
        return network, file, file.ranges([x]), x

    @pytest.mark.filterwarnings("error")
    def test_between_layers_stay_in_fp32(self):
        network, file, spans, x = self.ready()
        assert any(not np.isfinite(span).all() for span in spans.values())
        content = file.quantised(Policy(default="int8"), spans, weight_bits=7)
        assert quantised_layers(content) == {"one", "two"}
        assert moved(network, content, x) < 0.1

    def test_that_a_layer_reads_are_refused(self):
        _, file, spans, _ = self.ready(before=True)
        with pytest.raises(InvalidModel, match=r"cannot be quantised: .* takes values that are not finite"):
            file.quantised(Policy(default="int8"), spans)


class TestRanges:
    def test_cover_what_was_seen(self, whole, ranges):
        given = np.stack([x[0].numpy() for x in images(4)])
        name = onnx.ModelProto.FromString(whole.quantised(Policy(), ranges)).graph.input[0].name
        assert ranges[name] == (pytest.approx(given.min()), pytest.approx(given.max()))

    def test_percentiles_leave_the_outermost_out(self, whole, ranges):
        inner = whole.ranges(images(4), "percentile")
        assert inner.keys() == ranges.keys()
        assert all(ranges[n][0] - 1e-6 <= low <= high <= ranges[n][1] + 1e-6 for n, (low, high) in inner.items())

    def test_without_data_or_by_another_estimator(self, whole):
        with pytest.raises(InvalidOption, match="pass calibration=train_loader"):
            whole.ranges([])
        with pytest.raises(InvalidOption, match="must be one of minmax, percentile"):
            whole.ranges(images(1), "entropy")


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4),
    st.dictionaries(st.sampled_from(["a", "a.b", "b", "a.b.c"]), st.sampled_from(["int8", "int4"])),
)
def test_the_longest_name_that_fits_counts(parts, by):
    layer = ".".join(parts)
    fits = [name for name in by if f"{layer}.".startswith(f"{name}.")]
    assert Policy(by).of(layer) == (by[max(fits, key=len)] if fits else "fp32")


def test_the_file_is_checked_by_onnx(whole, ranges):
    content = whole.quantised(Policy(default="int8"), ranges)
    onnx.checker.check_model(onnx.load(io.BytesIO(content)), full_check=True)
