"""From Python: train, search, pick, export, resume; mistakes are refused by name."""

import json

import pytest
import torch

import archsmith as smith
from archsmith.certificate import read_certificate
from archsmith.errors import Infeasible, InvalidData, InvalidModel, InvalidOption, RunMismatch, UnknownName, UserError
from archsmith.evaluator import file_size
from archsmith.runs.weights import load_weights

COUNTED = {"maximize": "accuracy_top1", "minimize": "params", "budget": 8}


def searched(supernet, loader, run, **changed):
    return smith.search(supernet, loader, run=run, **{"calibration": loader, "test": loader, **COUNTED, **changed})


def test_train_search_pick_and_use(supernet, loader, tmp_path):
    smith.train(supernet, loader, epochs=30, lr=0.02)
    front = searched(supernet, loader, tmp_path / "r")
    assert [m["params"] for m in front] == sorted(m["params"] for m in front)
    smallest = front.pick(by="params")
    assert smallest is front[0]
    assert sum(p.numel() for p in smallest.module().parameters()) == smallest["params"]
    x = loader[0][0]
    with torch.no_grad():
        assert torch.equal(smallest.module()(x), supernet.eval()(x, arch=smallest.architecture))
    assert len({m.name for m in front}) == len(front)
    assert front.named(smallest.name) is smallest


def test_tied_weights_are_kept_and_restored(tmp_path):
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.up, self.down = torch.nn.Embedding(20, 8), torch.nn.Linear(8, 16), torch.nn.Linear(16, 8)
            self.head = torch.nn.Linear(8, 20, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, tokens):
            x = self.embed(tokens).mean(1)
            return self.head(x + self.down(torch.relu(self.up(x))))

    tokens = torch.arange(60).view(12, 5) % 20
    supernet, batches = smith.elastic(Tied(), tokens), [(tokens, tokens[:, 0])]
    front = smith.search(supernet, batches, run=tmp_path / "r", **{**COUNTED, "budget": 3})
    again = smith.search(supernet, batches, run=tmp_path / "r", **{**COUNTED, "budget": 3})
    assert [m.name for m in again] == [m.name for m in front]
    restored = smith.elastic(Tied(), tokens)
    load_weights(front.run, restored)
    assert restored.model.head.weight is restored.model.embed.weight
    assert torch.equal(restored(tokens), supernet(tokens))


def test_a_table_of_the_front(supernet, loader, tmp_path):
    table = searched(supernet, loader, tmp_path / "r").to_pandas()
    assert {"name", "accuracy_top1", "params", "macs", "test_accuracy_top1_low", "one", "two"} <= set(table.columns)


def test_latency_limits_hold_and_exports_are_certified_from_a_live_model(supernet, loader, tmp_path, monkeypatch):
    front = searched(
        supernet,
        loader,
        tmp_path / "r",
        minimize="latency_ms",
        on="torch_cpu:batch=4",
        limits="latency_ms<=150%",
        budget=3,
    )
    [limit] = front.limits
    assert all(m.final.values["latency_ms"].high <= limit.bound for m in front)
    written = front[0].export(tmp_path / "small.onnx")
    assert read_certificate(written.path).line == written.line
    assert "latency" in written.line
    with pytest.raises(InvalidModel, match="module:factory"):
        smith.Run.open(tmp_path / "r").front()[0].module()
    assert "live Python model" in " ".join(smith.Run.open(tmp_path / "r").notes)


def test_a_named_factory_can_be_exported_from_the_folder_later(supernet, loader, tmp_path, module):
    front = searched(supernet, loader, tmp_path / "r", model=module)
    again = smith.Run.open(tmp_path / "r").front()
    assert [m.name for m in again] == [m.name for m in front]
    x = loader[0][0]
    with torch.no_grad():
        assert torch.equal(again[0].module()(x), front[0].module()(x))


def test_the_same_call_resumes_and_evaluates_nothing_twice(supernet, loader, tmp_path):
    told = []
    first = searched(supernet, loader, tmp_path / "r", budget=4)
    more = searched(supernet, loader, tmp_path / "r", budget=8, on_progress=told.append)
    evaluations = smith.Run.open(tmp_path / "r").evaluations()
    assert len(evaluations) == len({e.identity for e in evaluations}) == 9
    assert {m.name for m in first} <= {e.architecture.key[:8] for e in evaluations}
    assert [m["params"] for m in more]
    assert sum(p.stage == "search" and p.done > 4 for p in told) == 4


def test_other_weights_data_or_space_are_named_on_resume(supernet, loader, tmp_path):
    searched(supernet, loader, tmp_path / "r")
    with pytest.raises(RunMismatch, match=r"data\.fingerprint"):
        smith.search(supernet, loader[:2], calibration=loader, run=tmp_path / "r", **COUNTED)
    with pytest.raises(RunMismatch, match="objectives"):
        searched(supernet, loader, tmp_path / "r", minimize="macs")
    many = ["params<=444", "macs<=446", "params>=1", "accuracy_top1>=1"]
    with pytest.raises(RunMismatch) as caught:
        searched(supernet, loader, tmp_path / "r", limits=many)
    assert f"limits: [] -> {json.dumps(many)}" in str(caught.value)
    assert "characters" not in str(caught.value)
    with torch.no_grad():
        next(supernet.parameters()).mul_(2)
    with pytest.raises(RunMismatch, match="other weights"):
        searched(supernet, loader, tmp_path / "r")
    wider = smith.elastic(
        torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Linear(8, 3)),
        torch.zeros(1, 6),
        {"0": smith.Elastic(out=smith.Width("w", (4, 8))), "1": smith.Elastic(into=smith.Width("w", (4, 8)))},
    )
    with pytest.raises(RunMismatch, match="space"):
        searched(wider, loader, tmp_path / "r")


def test_a_metric_of_ones_own_is_an_objective(supernet, loader, tmp_path):
    largest = smith.UserMetric("largest_weight", lambda net: max(p.abs().max().item() for p in net.parameters()))
    front = searched(supernet, loader, tmp_path / "r", minimize=["params", "largest_weight"], metrics=[largest])
    for m in front:
        assert m["largest_weight"] == max(p.abs().max().item() for p in m.module().parameters())


def test_a_metric_that_always_fails_is_said_at_once(supernet, loader, tmp_path):
    broken = smith.UserMetric("broken", lambda net: 1 / 0)
    with pytest.raises(smith.ArchsmithError, match="ZeroDivisionError"):
        searched(supernet, loader, tmp_path / "r", minimize="broken", metrics=[broken])


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"minimize": "param"}, UnknownName, "did you mean 'params'"),
        ({"minimize": "accuracy_top1"}, InvalidOption, "one objective only"),
        ({"maximize": (), "minimize": ()}, InvalidOption, "needs an objective"),
        ({"limits": "params<10"}, InvalidOption, "METRIC<=NUMBER"),
        ({"strategy": "nsga22"}, UnknownName, "did you mean 'nsga2'"),
        ({"options": {"popsize": 4}}, InvalidOption, "has no option popsize"),
        ({"budget": 0}, InvalidOption, "budget"),
        ({"on": "gpu"}, UnknownName, "onnxruntime"),
        ({"calibration": []}, UserError, "calibration"),
        ({"model": "tiny_network_of_mine:other"}, UserError, "elastic"),
        ({"calibration": 3}, UserError, "calibration must give batches"),
        ({"test": 3}, UserError, "test must give batches"),
        ({"seed": -1}, InvalidOption, "seed must be a whole number from 0 on, got -1"),
        ({"seed": "x"}, InvalidOption, "got 'x'"),
        ({"limits": [5]}, InvalidOption, "cannot read the limit 5; write METRIC<=NUMBER"),
        ({"limits": 5}, InvalidOption, "cannot read the limit 5"),
        ({"minimize": 3}, InvalidOption, "minimize=3 must be the name of a metric"),
        ({"maximize": [3]}, InvalidOption, "must be the name of a metric"),
        ({"on": None}, InvalidOption, "on=None must be a device such as 'onnxruntime:threads=1'"),
        ({"on": {"pi": 3}}, InvalidOption, "must be a device"),
        ({"metrics": ["x"]}, InvalidOption, r"must be a list of smith.UserMetric\(name, function\)"),
        ({"precisions": 8}, InvalidOption, "precisions=8 must be one or several of fp32, int8"),
        ({"baseline": 5}, InvalidOption, "STRATEGY:EVALUATIONS"),
        ({"run": 5}, InvalidOption, "a run is a folder"),
    ],
)
def test_mistakes_are_refused_before_anything_is_spent(supernet, loader, tmp_path, module, changed, error, said):
    with pytest.raises(error, match=said):
        smith.search(supernet, loader, **{"run": tmp_path / "r", "calibration": loader, **COUNTED, **changed})
    assert not (tmp_path / "r" / "store.db").exists()


def test_validation_data_that_can_be_read_only_once_is_refused_unread(supernet, loader, tmp_path):
    once = (batch for batch in loader)
    with pytest.raises(InvalidData, match="val is a generator, which can be read only once; a search reads it for"):
        searched(supernet, once, tmp_path / "r")
    assert len(list(once)) == len(loader)
    with pytest.raises(InvalidData, match=r"val must give batches \(inputs, labels\), got None"):
        searched(supernet, None, tmp_path / "r")
    front = searched(supernet, loader, tmp_path / "r", calibration=iter(loader))  # which is read once
    assert len(front)


def test_a_plain_module_is_told_how_it_becomes_a_supernet(loader):
    way_out = r"needs a supernet, got Linear; make one of a module with smith.elastic\(model, example_inputs\)"
    with pytest.raises(InvalidModel, match=way_out):
        smith.search(torch.nn.Linear(6, 3), loader, **COUNTED)
    with pytest.raises(InvalidModel, match=way_out):
        smith.train(torch.nn.Linear(6, 3), loader)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"width": 0.5}, "width is a list of sizes .* got 0.5"),
        ({"width": "0.5"}, "width is a list of sizes .* got '0.5'"),
        ({"resolution": 160}, "resolution is a list of sizes"),
        ({"options": {"*": ["2"]}}, "is a list of sizes"),
        ({"depth": "all"}, "smallest share of blocks that stays, in .* got 'all'"),
        ({"multiple": "8"}, "multiple must be a whole number from 1 on"),
        ({"kernel": 0}, "kernel must be a whole number from 1 on"),
        ({"seed": "x"}, "seed must be a whole number from 0 on"),
    ],
)
def test_wrong_kinds_of_what_may_vary_are_named(wrong, said):
    with pytest.raises(InvalidOption, match=said):
        smith.elastic(torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Linear(16, 3)), torch.zeros(1, 6), **wrong)


@pytest.mark.parametrize(("name", "function"), [("u", 3), ("u v", len), ("", len), (3, len)])
def test_a_metric_needs_a_name_that_limits_can_say_and_a_function(name, function):
    with pytest.raises(InvalidOption, match=r"function of the network|a metric's name has"):
        smith.UserMetric(name, function)


def test_a_pick_outside_the_front_says_how_near_it_is(supernet, loader, tmp_path):
    front = searched(supernet, loader, tmp_path / "r")
    with pytest.raises(Infeasible, match=f"smallest params among 1 networks of the front is {front[0]['params']:.4g}"):
        front.pick("params<=1")
    with pytest.raises(UnknownName, match="did you mean 'params'"):
        front.pick("parms<=1")
    assert front.pick(by="macs")["macs"] == min(m["macs"] for m in front)  # less of it is better, everybody knows
    with pytest.raises(UnknownName, match="did you mean 'macs'"):
        front.pick(by="mac")
    assert front[0].name in repr(front)
    assert len(repr(front[0])) < 200


def test_a_search_without_a_folder_keeps_everything_in_a_temporary_one(supernet, loader):
    front = smith.search(supernet, loader, **COUNTED)
    assert (front.run.path / "store.db").exists()
    assert front.report().exists()


def test_sizes_are_those_of_the_files_that_are_measured(supernet, loader, monkeypatch):
    monkeypatch.setattr(file_size, "candidate_onnx", None)  # nothing is exported for it alone
    front = smith.search(supernet, loader, minimize=["size_mib", "latency_ms"], on="onnxruntime", budget=2)
    assert all(member.final.values["size_mib"].source == "measured" for member in front)


def test_every_cost_is_an_objective_or_has_a_limit(supernet, loader, tmp_path):
    front = searched(
        supernet,
        loader,
        tmp_path / "r",
        minimize=["live_memory_mib", "energy_mj"],
        limits=["size_mib<=99%", "throughput>=1", "peak_memory_mib<=64", "arithmetic_intensity<=1000"],
        on="onnxruntime:batch=4",
        budget=2,
    )
    sources = {"measured", "modelled"}  # as the machine lets its energy be read, or does not
    for member in front:
        values = member.final.values
        assert values["energy_mj"].source in sources
        assert values["throughput"].value == pytest.approx(4000 / values["latency_ms"].value)
        assert values["peak_memory_mib"].source == "measured"
        assert values["live_memory_mib"].value > 4 * values["params"].value / 2**20
        assert all(limit.violation(member.final) == 0 for limit in front.limits)
    with pytest.raises(UnknownName, match="did you mean 'throughput'"):
        searched(supernet, loader, tmp_path / "s", maximize="troughput")


def test_what_a_device_cannot_give_is_refused_before_anything_is_spent(supernet, loader, tmp_path):
    with pytest.raises(InvalidOption, match="peak_memory_mib is measured on devices that run ONNX files"):
        searched(supernet, loader, tmp_path / "r", minimize="peak_memory_mib", on="torch_cpu")
