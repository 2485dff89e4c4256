"""Latency predicted from blocks and a few whole networks, on a machine whose every cost is known."""

import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import archsmith as smith
from archsmith.architecture import Proposal
from archsmith.errors import DamagedFile, InvalidOption, MeasurementFailed
from archsmith.evaluator.counts import count
from archsmith.evaluator.predicted_latency import PredictedLatency
from archsmith.hardware.block_table import BlockTable, OperatorTable
from archsmith.hardware.parts import block_paths, parts_of
from archsmith.testing.evaluators import EvaluatorConformance
from archsmith.value import Value


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels):
        super().__init__()
        self.first, self.second = nn.Conv2d(channels, 16, 3, padding=1), nn.Conv2d(16, channels, 3, padding=1)

    def forward(self, x, *, scale=1.0):
        return x + scale * self.second(self.first(x).relu())


class Network(nn.Module):
    """A stem, a row of blocks and a head; what the head is given is computed between modules."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList([Block(8) for _ in range(4)])
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, scale=0.5)
        return self.head(x.mean((2, 3)))


class KnownMachine:
    """A device on which a file takes so much for being entered, and so much a million multiply-adds; and its meter.

    Attributes:
        measured: networks so far.
    """

    spec, batch, files = "known:batch=1", 1, ()

    def __init__(self, *, entry=0.05, rate=1.0, noise=0.0, name="known"):
        self.entry, self.rate, self.noise, self.measured = entry, rate, noise, 0
        self.fingerprint, self.rng = f"{name}-{entry}-{rate}", np.random.default_rng(0)

    @property
    def device(self):
        return self

    def prepare(self, module, inputs, *, batch=None):
        assert batch in (None, inputs[0].shape[0])
        return count(module, inputs)[1] / 1e6

    def measure(self, call, effort="search"):
        self.measured += 1
        latency = (self.entry + self.rate * call) * self.rng.normal(1, self.noise)

        return SimpleNamespace(latency_ms=latency, value=lambda: Value(latency, "measured"))


@pytest.fixture(scope="module")
def supernet():
    torch.manual_seed(0)
    return smith.elastic(Network(), torch.zeros(1, 3, 12, 12), width=(0.25, 0.5, 0.75, 1.0), depth=0.25)


def latencies(supernet, machine, architectures):
    networks = [supernet.extract(a) for a in architectures]
    return np.array([machine.entry + machine.rate * count(n, supernet.example_inputs)[1] / 1e6 for n in networks])


def table(machine, tmp_path):
    return BlockTable(machine, folder=tmp_path / "tables")


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_blocks_of_a_network_are_all_of_it(supernet, seed):
    network = supernet.extract(supernet.random(np.random.default_rng(seed)))
    x = (torch.randn(1, 3, 12, 12),)
    parts = parts_of(network.eval(), x, block_paths(supernet.extract(supernet.largest)))
    assert [p.path for p in parts] == ["stem", *(f"blocks.{i}" for i in range(len(network.blocks))), "head"]
    assert sum(count(p.network, p.inputs)[1] for p in parts) == count(network, x)[1]
    out = network(*x)
    torch.testing.assert_close(parts[-1].network(*parts[-1].inputs), out)  # keyword arguments and order are kept


def test_equal_blocks_are_one_kind_and_others_are_not(supernet):
    network, x = supernet.extract(supernet.largest).eval(), (torch.randn(1, 3, 12, 12),)
    keys = [p.key for p in parts_of(network, x)]
    assert len(set(keys)) == 3
    network.blocks[1].first.stride = (1, 1)
    assert keys == [p.key for p in parts_of(network, x)]
    network.blocks[1].first.padding_mode = "reflect"
    assert len({p.key for p in parts_of(network, x)}) == 4
    assert keys[0] != parts_of(network, (torch.randn(1, 3, 10, 12),))[0].key


def test_the_network_comes_back_as_it_was(supernet):
    network = supernet.extract(supernet.largest).eval()
    before = [len(m._forward_pre_hooks) for m in network.modules()]
    with pytest.raises(MeasurementFailed, match="cannot be run"):
        parts_of(network, (torch.zeros(1, 4, 12, 12),))
    assert [len(m._forward_pre_hooks) for m in network.modules()] == before


def test_a_table_measures_every_kind_once_and_keeps_it(supernet, tmp_path):
    machine, network = KnownMachine(), supernet.extract(supernet.largest).eval()
    first = table(machine, tmp_path).total(network, supernet.example_inputs)
    assert (first.parts, first.measured, machine.measured) == (6, 3, 3)
    again = table(machine, tmp_path).total(network, supernet.example_inputs)
    assert (again.total_ms, again.measured, machine.measured) == (first.total_ms, 0, 3)
    other = KnownMachine(name="other")
    assert table(other, tmp_path).total(network, supernet.example_inputs).measured == 3


def test_a_damaged_table_is_refused(tmp_path):
    machine = KnownMachine()
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / f"{machine.fingerprint}.json").write_text("[1]")
    with pytest.raises(DamagedFile, match="delete it"):
        table(machine, tmp_path)


@pytest.mark.parametrize("by", ["blocks", "both", "learned", "auto"])
def test_unseen_networks_are_predicted(supernet, tmp_path, by):
    """Where entering costs as much as a block: the sum over blocks alone would be several times too long."""
    machine = KnownMachine(entry=0.3, noise=0.01)
    predictor = PredictedLatency(supernet, machine, by=by, sample=24, table=table(machine, tmp_path))
    unseen = supernet.space.sample(25, np.random.default_rng(1))
    found, true = predictor.predict(unseen), latencies(supernet, machine, unseen)
    errors = np.abs(np.array([v.value for v in found]) / true - 1)
    assert np.median(errors) < (0.05 if by == "learned" else 0.02)
    assert np.mean([v.low <= t <= v.high for v, t in zip(found, true, strict=True)]) >= 0.8
    assert {v.source for v in found} == {"predicted"}
    assert predictor.model == by if by != "auto" else predictor.model in ("blocks", "both")
    sums = [predictor._parts(a, 0, 1).total_ms for a in unseen]
    assert np.median(np.abs(np.array(sums) / true - 1)) > 0.2  # what is corrected


def test_unseen_networks_are_predicted_from_their_operators(supernet, tmp_path):
    class RunsFiles(KnownMachine):
        """Whose operators are files: each takes what its weights and outputs do."""

        files = (".onnx",)

        def prepare_onnx(self, content, inputs, *, batch=None):
            graph = onnx.shape_inference.infer_shapes(onnx.ModelProto.FromString(content)).graph
            sizes = {w.name: int(np.prod(w.dims)) for w in graph.initializer if len(w.dims) > 1}
            places = {"Conv": 144, "Gemm": 1}  # of the output, at which the weights are used
            return (
                sum(places.get(n.op_type, 0) * sizes.get(n.input[1], 0) for n in graph.node if len(n.input) > 1) / 1e6
            )

    machine = RunsFiles(entry=0.3, noise=0.01)
    operators = OperatorTable(machine, folder=tmp_path)
    predictor = PredictedLatency(supernet, machine, by="operators", sample=12, table=operators)
    unseen = supernet.space.sample(20, np.random.default_rng(1))
    found, true = predictor.predict(unseen), latencies(supernet, machine, unseen)
    assert np.median(np.abs(np.array([v.value for v in found]) / true - 1)) < 0.02
    assert predictor.model == "operators"


def test_operators_need_a_device_that_runs_files(supernet):
    with pytest.raises(InvalidOption, match="operators are measured on devices that run ONNX files, not on known"):
        PredictedLatency(supernet, KnownMachine(), by="operators")


def test_a_table_of_other_parts_is_refused(supernet, tmp_path):
    machine = KnownMachine()
    with pytest.raises(InvalidOption, match="by='blocks' and a table of operators do not go together"):
        PredictedLatency(supernet, machine, by="blocks", table=OperatorTable(machine, folder=tmp_path))


def test_a_new_device_from_few_networks_with_a_known_one(supernet, tmp_path):
    known_machine, new_machine = KnownMachine(entry=0.1, noise=0.003), KnownMachine(entry=0.3, rate=7.0, noise=0.003)
    known = PredictedLatency(supernet, known_machine, sample=24, table=table(known_machine, tmp_path))
    known.predict([supernet.largest])
    unseen = supernet.space.sample(25, np.random.default_rng(1))
    helped = PredictedLatency(supernet, new_machine, sample=10, known=[known], table=table(new_machine, tmp_path))
    alone = PredictedLatency(supernet, new_machine, sample=10, by="learned", table=table(new_machine, tmp_path))
    true = latencies(supernet, new_machine, unseen)
    errors = [np.median(np.abs(np.array([v.value for v in p.predict(unseen)]) / true - 1)) for p in (helped, alone)]
    assert new_machine.measured == 20  # whole networks: no block
    assert errors[0] < 0.03
    assert errors[0] < errors[1]


def test_a_run_that_goes_on_measures_nothing_again(supernet, tmp_path):
    machine, file = KnownMachine(noise=0.01), tmp_path / "latencies.json"
    how = {"by": "learned", "sample": 8, "file": file}
    first = PredictedLatency(supernet, machine, **how).predict([supernet.random(np.random.default_rng(5))])
    data = json.loads(file.read_text())
    data["latency_ms"] = dict(list(data["latency_ms"].items())[:5])  # as if it had been killed
    before = machine.measured
    PredictedLatency(supernet, machine, **how).predict([supernet.smallest])
    assert machine.measured == before
    file.write_text(json.dumps(data))
    PredictedLatency(supernet, machine, **how).predict([supernet.smallest])
    assert machine.measured == before + 3
    assert first == first
    file.write_text(json.dumps({"evaluator": "another", "latency_ms": {}}))
    PredictedLatency(supernet, machine, **how).predict([supernet.smallest])
    assert machine.measured == before + 11  # what another evaluator measured counts for nothing
    file.write_text("{}")
    with pytest.raises(DamagedFile, match="delete it"):
        PredictedLatency(supernet, machine, **how).predict([supernet.smallest])


def test_blocks_that_cannot_run_alone_leave_the_choices(supernet, tmp_path):
    class Moody(KnownMachine):
        def prepare(self, module, inputs, *, batch=None):
            if batch is not None:  # a block
                raise RuntimeError("not alone")
            return super().prepare(module, inputs)

    machine = Moody()
    assert PredictedLatency(supernet, machine, sample=8, table=table(machine, tmp_path)).model == "learned"
    with pytest.raises(MeasurementFailed, match="stem cannot be measured alone"):
        PredictedLatency(supernet, machine, sample=8, by="blocks", table=table(machine, tmp_path)).predict(
            [supernet.largest]
        )


@pytest.mark.parametrize(("how", "message"), [({"by": "guess"}, "guess"), ({"sample": 3}, "sample=3")])
def test_wrong_options_are_refused(supernet, how, message):
    with pytest.raises(InvalidOption, match=message):
        PredictedLatency(supernet, KnownMachine(), **how)


class TestPredictedLatency(EvaluatorConformance):
    @pytest.fixture
    def evaluator(self, supernet, tmp_path):
        machine = KnownMachine()
        return PredictedLatency(supernet, machine, sample=6, by="learned", table=table(machine, tmp_path))

    def test_a_proposal_gets_the_metric(self, supernet, evaluator):
        [value] = evaluator.measure(Proposal(supernet.largest), seed=0).values()
        assert value.value == pytest.approx(latencies(supernet, KnownMachine(), [supernet.largest])[0], rel=0.2)
