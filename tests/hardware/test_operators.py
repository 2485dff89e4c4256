"""Files taken apart into operators, and the table of what these take."""

import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from archsmith.errors import DamagedFile, InvalidModel, MeasurementFailed
from archsmith.export.onnx_tools.fast_exporter import candidate_onnx
from archsmith.export.onnx_tools.simplifying import session_of, simplified
from archsmith.hardware.block_table import OperatorTable
from archsmith.hardware.operators import FREE_OPERATORS, operators_of


class Net(nn.Module):
    """Two equal convolutions, one of which an activation follows, a sum, and attention without weights."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.one, self.two = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        x = self.stem(x)
        x = torch.relu(self.one(x)) + self.two(x)
        x = x.flatten(2)
        return torch.softmax(x.transpose(1, 2) @ x, -1)


def content(seed=0, size=6, make=Net):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return candidate_onnx(make().eval(), (torch.randn(2, 3, size, size),))


def kinds(found):
    return [[n.op_type for n in onnx.ModelProto.FromString(o.content).graph.node] for o in found]


class TestOperators:
    def test_are_all_that_computes_with_the_activation_that_follows(self):
        found = kinds(operators_of(content()))
        assert sorted(found[:3]) == [["Conv"], ["Conv", "Relu"], ["Conv", "Relu"]]
        assert found[3:] == [["Add"], ["Transpose"], ["MatMul"], ["Softmax"]]

    def test_run_one_after_the_other_they_are_the_network(self):
        whole = session_of(content())
        x = np.random.default_rng(0).standard_normal((2, 3, 6, 6), dtype=np.float32)
        known = {whole.get_inputs()[0].name: x}
        nodes = simplified(onnx.ModelProto.FromString(content())).graph.node
        same = {node.output[0]: node.input[0] for node in nodes if node.op_type in FREE_OPERATORS}
        for operator in operators_of(content()):
            session = session_of(operator.content)
            feed = {}
            for given, drawn in zip(session.get_inputs(), operator.inputs, strict=True):
                feed[given.name] = known[same.get(given.name, given.name)].reshape(drawn.shape)
            for name, value in zip([o.name for o in session.get_outputs()], session.run(None, feed), strict=True):
                known[name] = value
        [right] = whole.run(None, {whole.get_inputs()[0].name: x})
        np.testing.assert_allclose(value, right, rtol=1e-4, atol=1e-5)

    def test_are_of_one_kind_whatever_the_weights_and_of_another_in_another_shape(self):
        keys = [o.key for o in operators_of(content())]
        assert keys == [o.key for o in operators_of(content(seed=1))]
        assert not {*keys} & {o.key for o in operators_of(content(size=8))}
        assert len({*keys}) == len(keys)
        twice = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)))
        assert len({o.key for o in operators_of(content(make=lambda: twice))}) == 1

    def test_what_is_no_network_is_refused(self):
        nothing = onnx.helper.make_graph([onnx.helper.make_node("Nothing", [], ["y"])], "g", [], [])
        with pytest.raises(InvalidModel, match="cannot read the network"):
            operators_of(onnx.helper.make_model(nothing).SerializeToString())


class Machine:
    """A meter on which every file takes as many milliseconds as it has nodes, and its device."""

    spec, batch, files, fingerprint = "counting:batch=2", 2, (".onnx",), "counting"

    def __init__(self):
        self.measured = 0

    @property
    def device(self):
        return self

    def prepare_onnx(self, content, inputs, *, batch=None):
        assert batch == inputs[0].shape[0]
        session = session_of(content)
        session.run(None, dict(zip([i.name for i in session.get_inputs()], inputs, strict=True)))
        return len(onnx.ModelProto.FromString(content).graph.node)

    def measure(self, call, effort="search"):
        self.measured += 1
        return SimpleNamespace(latency_ms=float(call))


class TestTable:
    def test_every_kind_is_measured_once_and_kept(self, tmp_path):
        machine = Machine()
        first = OperatorTable(machine, folder=tmp_path).total(content())
        assert (first.total_ms, first.parts, first.measured) == (9.0, 7, 7)
        again = OperatorTable(machine, folder=tmp_path).total(content(seed=3))
        assert (again.total_ms, again.measured, machine.measured) == (9.0, 0, 7)
        [file] = tmp_path.iterdir()
        assert file.name == "counting-operators.json"
        assert len(json.loads(file.read_text())["latency_ms"]) == 7

    def test_an_operator_that_cannot_be_measured_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Machine, "prepare_onnx", lambda *_, **__: 1 / 0)
        with pytest.raises(MeasurementFailed, match=r"operator Conv .* cannot be measured alone: division by zero"):
            OperatorTable(Machine(), folder=tmp_path).total(content())

    def test_a_damaged_table_is_refused(self, tmp_path):
        (tmp_path / "counting-operators.json").write_text("[1]")
        with pytest.raises(DamagedFile, match=r"table of operators.*the operators are measured anew"):
            OperatorTable(Machine(), folder=tmp_path)
