"""Several devices in one search: a metric each, a limit each, certificates that speak of all."""

import json
import re

import numpy as np
import pytest

import archsmith as smith
from archsmith.certificate import certified_devices, read_certificate
from archsmith.delivery.verifying import verify_file
from archsmith.errors import DeviceLost, InvalidOption, RunMismatch, UnknownName
from archsmith.hardware import Measurement
from archsmith.hardware.agents.agent import Agent
from archsmith.hardware.devices.remote import Remote
from archsmith.hardware.named import device_metrics, named_devices, recorded
from archsmith.hardware.statistics import ratio_of_minima, ratio_of_trimmed_means

TWO = ["onnxruntime:batch=4", "other=openvino:batch=4"]


@pytest.mark.parametrize(
    ("on", "found"),
    [
        ("onnxruntime", {"": "onnxruntime"}),
        (["onnxruntime:threads=1"], {"": "onnxruntime:threads=1"}),
        (["pi=remote:10.0.0.7:7465"], {"pi": "remote:10.0.0.7:7465"}),
        (["onnxruntime", "openvino:threads=2"], {"onnxruntime": "onnxruntime", "openvino": "openvino:threads=2"}),
        (["a=my.module:Class:speed=2", "b = torch_cpu"], {"a": "my.module:Class:speed=2", "b": "torch_cpu"}),
        ({"x": "openvino", "y": "openvino:threads=2"}, {"x": "openvino", "y": "openvino:threads=2"}),
    ],
)
def test_names_are_read(on, found):
    assert named_devices(on) == found
    assert device_metrics(named_devices(on))[: len(found)] == [f"latency_ms{'@' * bool(n)}{n}" for n in found]


@pytest.mark.parametrize(
    ("on", "said"),
    [
        ([], "needs a device"),
        (
            ["openvino", "openvino:threads=2"],
            "two devices are called openvino; name them, such as one=openvino:threads=2",
        ),
        ({"my pi": "openvino"}, "'my pi' must be letters"),
        ("pi=", "cannot read the device"),
        (["remote:a:1", "remote:b:1"], "two devices are called remote"),
    ],
)
def test_names_are_checked(on, said):
    with pytest.raises(InvalidOption, match=re.escape(said)):
        named_devices(on)


def searched(supernet, loader, run, on, **changed):
    names = list(named_devices(on))
    question = {
        "minimize": [f"latency_ms@{n}" for n in names],
        "limits": [f"latency_ms@{name}<={400 + 100 * i}%" for i, name in enumerate(names)],
        "budget": 1,
    }
    return smith.search(supernet, loader, calibration=loader, run=run, on=on, **{**question, **changed})


def test_each_device_has_its_objective_its_limit_and_its_part_of_the_certificate(supernet, loader, tmp_path):
    front = searched(supernet, loader, tmp_path / "r", TWO)
    first, second = front.limits
    assert (first.metric, second.metric) == ("latency_ms@onnxruntime", "latency_ms@other")
    assert first.bound != second.bound
    for member in front:
        assert all(member.final.values[limit.metric].high <= limit.bound for limit in front.limits)
        assert "latency_ms" not in member.final.values
    run = smith.Run.open(tmp_path / "r")
    assert run.fixed["device"] == recorded(named_devices(TWO))
    assert set(run.anchors) == {"onnxruntime", "other"}
    assert "other = openvino:threads=1,batch=4" in front.report().read_text(encoding="utf-8")
    written = front[0].export(tmp_path / "small.onnx")
    certificate = read_certificate(written.path)
    assert [d["spec"] for d in certified_devices(certificate).values()] == [*run.fixed["device"].values()]
    assert written.line.count("the search found") == 2
    checks = {c.name: c.status for c in verify_file(written.path).checks}
    assert {"latency@onnxruntime", "latency@other"} <= set(checks)
    assert "skipped" not in (checks["latency@onnxruntime"], checks["latency@other"])
    with pytest.raises(RunMismatch, match="device"):
        searched(supernet, loader, tmp_path / "r", [TWO[0], "other=openvino:batch=8"])


def test_only_devices_that_are_asked_for_are_measured_on(supernet, loader, tmp_path):
    front = searched(supernet, loader, tmp_path / "r", TWO, minimize="latency_ms@other", limits=[])
    assert "latency_ms@other" in front[0].final.values
    assert "latency_ms@onnxruntime" not in front[0].final.values


def test_a_metric_must_say_of_which_device_it_is(supernet, loader, tmp_path):
    with pytest.raises(UnknownName, match="no metric is called 'latency_ms'; did you mean 'latency_ms@other'"):
        searched(supernet, loader, tmp_path / "r", TWO, minimize="latency_ms", limits=[])
    with pytest.raises(UnknownName, match="Known: accuracy_top1, latency_ms,"):
        searched(supernet, loader, tmp_path / "r", "openvino", minimize="latency_ms@pi", limits=[])
    assert not (tmp_path / "r").exists()


@pytest.fixture
def agents(tmp_path, monkeypatch):
    """Two agents with homes of their own would be two machines; here they are two devices of one."""
    import threading

    monkeypatch.setenv("ARCHSMITH_AGENT_TOKEN", "correct-horse-battery")
    found = []
    for on in ("archsmith.testing.steady:Steady:batch=2", "archsmith.testing.steady:Steady:batch=8"):
        running = Agent(on, token="correct-horse-battery").__enter__()
        thread = threading.Thread(target=running.serve)
        thread.start()
        found.append((running, thread))
    yield {name: f"remote:{running.address}" for name, (running, _) in zip(("small", "large"), found, strict=True)}
    for running, thread in found:
        running.stop()
        thread.join()
        running.__exit__(None, None, None)


def test_two_agents_are_two_devices(supernet, loader, tmp_path, agents):
    front = searched(supernet, loader, tmp_path / "r", agents)
    for member in front:
        small, large = (member.final.values[f"latency_ms@{name}"] for name in ("small", "large"))
        assert small.source == large.source == "measured"
        assert small.high <= front.limits[0].bound
        assert large.high <= front.limits[1].bound
    assert json.loads((tmp_path / "r" / "run.json").read_text())["fixed"]["device"] == agents
    proof = read_certificate(front[0].export(tmp_path / "small.onnx").path)
    assert "remote:127.0.0.1" in proof.line
    again = searched(supernet, loader, tmp_path / "r", agents)
    assert [m.name for m in again] == [m.name for m in front]


def test_a_device_that_is_lost_ends_the_search_and_costs_nothing(supernet, loader, tmp_path, agents, monkeypatch):
    wanted = {"minimize": "latency_ms@small", "limits": [], "budget": 4}
    real, left = Remote.measure, [2]

    def measure(self, *arguments):
        left[0] -= 1
        if left[0] < 0:
            raise DeviceLost("the board was unplugged")
        return real(self, *arguments)

    monkeypatch.setattr(Remote, "measure", measure)
    with pytest.raises(DeviceLost, match="unplugged"):
        searched(supernet, loader, tmp_path / "r", agents, **wanted)
    before = smith.Run.open(tmp_path / "r").evaluations()
    assert all(e.ok for e in before)
    left[0] = 10**6
    front = searched(supernet, loader, tmp_path / "r", agents, **wanted)
    after = smith.Run.open(tmp_path / "r").evaluations()
    assert after[: len(before)] == before
    assert all(e.ok for e in after)
    assert len(front)


def test_a_run_is_not_continued_on_another_machine(supernet, loader, tmp_path, monkeypatch):
    wanted = {"minimize": "latency_ms", "limits": [], "budget": 1}
    searched(supernet, loader, tmp_path / "r", "torch_cpu:batch=4", **wanted)
    monkeypatch.setattr("archsmith.hardware.machine._cpu_model", lambda: "Another Processor 9000")
    with pytest.raises(
        RunMismatch, match=r"measured on another machine.*cpu: .* -> .*Another Processor 9000.*--trained"
    ):
        searched(supernet, loader, tmp_path / "r", "torch_cpu:batch=4", **wanted)


def test_every_measurement_is_kept_with_its_raw_samples(supernet, loader, tmp_path):
    wanted = {"minimize": "latency_ms", "limits": []}
    searched(supernet, loader, tmp_path / "r", "torch_cpu:batch=4", **wanted, budget=1)
    path = tmp_path / "r" / "measurements.jsonl"
    with path.open("a") as file:
        file.write('{"architecture": "cut sho')  # as a kill would leave it
    front = searched(supernet, loader, tmp_path / "r", "torch_cpu:batch=4", **wanted, budget=2)
    lines = path.read_text().splitlines()
    kept = [json.loads(line) for line in lines if not line.endswith("cut sho")]
    assert len(kept) == len(lines) - 1 >= 3
    [final] = [k for k in kept if k["effort"] == "final" and k["architecture"] == front[0].architecture.key][:1]
    assert final["metric"] == "latency_ms"
    assert final["latency_ms"] == front[0].final["latency_ms"]
    assert final["device"] == "torch_cpu:threads=1,batch=4"
    for line in kept:
        found = Measurement.from_json({k: v for k, v in line.items() if k not in ("architecture", "metric")})
        pairs = len(found.raw["candidate_cpu"])
        assert pairs == found.samples * len(found.groups) == len(found.raw["reference_wall"])
        group = slice(0, found.samples)
        clock = found.clock
        ratio = (ratio_of_trimmed_means if clock == "cpu" else ratio_of_minima)(
            *(np.array(found.raw[f"{who}_{clock}"][group]) for who in ("candidate", "reference"))
        )
        assert ratio == pytest.approx(found.groups[0], rel=1e-3)
