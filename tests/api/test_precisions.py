"""A search over precisions, from the question to a certified quantised file."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import archsmith as smith
from archsmith.api.exports import export_from_run
from archsmith.delivery.verifying import verify_file
from archsmith.errors import InvalidOption, RunMismatch
from archsmith.export.onnx_tools.onnx_file import OnnxFile
from archsmith.export.onnx_tools.quantising import is_quantised
from archsmith.hardware.devices.onnxruntime import OnnxRuntime
from archsmith.hardware.devices.openvino import OpenVino
from archsmith.runs.context import SearchContext

ON = "onnxruntime:threads=1,batch=4"


def searched(supernet, loader, run, **changed):
    question = {
        "maximize": "accuracy_top1",
        "minimize": ["latency_ms", "size_mib"],
        "precisions": ("fp32", "int8"),
        "budget": 6,
        "on": ON,
        "calibration": loader,
        "test": loader,
    }
    return smith.search(supernet, loader, run=run, **{**question, **changed})


def test_from_the_question_to_a_verified_file(module, supernet, loader, tmp_path):
    run = tmp_path / "r"
    front = searched(supernet, loader, run, model=module)
    evaluations = smith.Run.open(run).evaluations()
    assert {"0.precision", "2.precision", "4.precision"} < {*evaluations[0].architecture.to_dict()}
    corners = [{v for n, v in e.architecture.to_dict().items() if n.endswith(".precision")} for e in evaluations[:4]]
    assert corners == [{"fp32"}, {"int8"}, {"fp32"}, {"int8"}]
    assert all(e.ok for e in evaluations)
    known = len(evaluations)
    again = searched(supernet, loader, run, model=module)
    assert len(smith.Run.open(run).evaluations()) == known
    assert [m.name for m in again] == [m.name for m in front]


def test_a_quantised_file_and_its_certificate(module, supernet, loader, tmp_path):
    run = tmp_path / "r"
    front = searched(supernet, loader, run, precisions=smith.Precisions(options=("int8",), keep=("4",)), model=module)
    written = front[0].export(tmp_path / "small.onnx")
    proof = written.certificate.data
    assert proof["quantised"]["layers"] == {"0": "int8", "2": "int8"}
    assert proof["accuracy"]["val"]["top1"] == pytest.approx(front[0]["accuracy_top1"], abs=1)
    assert "2 of 3 layers in int8, which moves outputs by up to" in written.line
    assert {form for row in proof["outputs"]["compared"] for form in row["between"]} == {
        "active subnet", "extracted module", "reloaded module", "ONNX file before it was quantised",
    }  # fmt: skip
    assert is_quantised((tmp_path / "small.onnx").read_bytes())
    assert OnnxFile(tmp_path / "small.onnx")(loader[0][0]).shape == (40, 3)
    assert isinstance(front[0].module(), nn.Module)
    verdict = verify_file(tmp_path / "small.onnx")
    assert verdict.ok, verdict.lines()
    assert any("quantising moves the outputs by" in line for line in verdict.lines())


def test_a_quantised_file_that_was_changed_does_not_verify(module, supernet, loader, tmp_path):
    front = searched(supernet, loader, tmp_path / "r", precisions="int8", model=module, budget=2)
    front[0].export(tmp_path / "a.onnx")
    other = searched(supernet, loader, tmp_path / "s", precisions="int8", model=module, budget=3, minimize="params")
    bigger = max(other, key=lambda m: m["params"])
    bigger.export(tmp_path / "b.onnx")
    (tmp_path / "a.onnx").write_bytes((tmp_path / "b.onnx").read_bytes())
    if front[0].architecture != bigger.architecture:
        assert not verify_file(tmp_path / "a.onnx").ok


def test_a_run_on_disk_exports_what_a_live_search_found(module, supernet, loader, tmp_path):
    run = tmp_path / "r"
    front = searched(supernet, loader, run, precisions="int8", model=module, budget=2)
    [written] = export_from_run(run, name=front[0].name)
    assert is_quantised(written.path.read_bytes())
    assert "layers in int8" in written.line


def test_a_device_in_int8_quantises_everything(supernet, loader, tmp_path):
    front = searched(supernet, loader, tmp_path / "r", precisions=None, on=f"{ON},precision=int8", budget=2)
    kept = json.loads((tmp_path / "r" / "run.json").read_text())["fixed"]["precisions"]
    assert {*kept["fixed"].values()} == {"int8"}
    assert front[0].export(tmp_path / "a.onnx").certificate.data["quantised"]["layers"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"latency": "predicted"}, "the latency of quantised layers can only be measured"),
        ({"minimize": ["latency_ms", "live_memory_mib"]}, "live_memory_mib is computed for fp32"),
        ({"on": "torch_cpu"}, "torch_cpu:threads=1,batch=1 cannot run single layers in int8"),
        ({"on": f"{ON},precision=int8"}, "has every layer in int8; leave out its precision, or precisions"),
        (
            {"on": {"a": ON, "b": f"{ON},precision=int8"}, "precisions": None, "minimize": "latency_ms@a"},
            "another device does not; give precisions='int8' instead",
        ),
        ({"precisions": "int3"}, "no precision of layers is called 'int3'"),
        ({"calibration": None}, "quantising needs calibration data; pass calibration=train_loader"),
    ],
)
def test_what_is_refused(supernet, loader, tmp_path, changed, said):
    with pytest.raises(smith.ArchsmithError, match=said):
        searched(supernet, loader, tmp_path / "r", **changed)


def test_a_run_keeps_its_precisions(supernet, loader, tmp_path):
    searched(supernet, loader, tmp_path / "r", budget=2)
    with pytest.raises(RunMismatch, match="precisions"):
        searched(supernet, loader, tmp_path / "r", budget=2, precisions=None)


def test_texts_of_many_lengths_are_refused_before_anything_is_spent(tmp_path):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.one, self.two = nn.Embedding(20, 16), nn.Linear(16, 32), nn.Linear(32, 2)

        def forward(self, ids):
            return self.two(torch.relu(self.one(self.embed(ids).mean(1))))

    rng = np.random.default_rng(0)
    loader = [(torch.from_numpy(rng.integers(0, 20, (4, n))), torch.zeros(4, dtype=torch.long)) for n in (5, 7)]
    supernet = smith.elastic(Words(), loader[0][0])
    with pytest.raises(InvalidOption, match="pad texts to one length"):
        searched(supernet, loader, tmp_path / "r")


def test_devices_that_differ_run_and_are_judged_on_one_network(supernet, monkeypatch):
    monkeypatch.setattr(OnnxRuntime, "weight_bits", 8)
    monkeypatch.setattr(OpenVino, "weight_bits", 7)
    for on, bits in (({"": "onnxruntime"}, 8), ({"a": "onnxruntime", "b": "openvino"}, 7)):
        assert SearchContext(supernet, None, None, None, on).weight_bits == bits
