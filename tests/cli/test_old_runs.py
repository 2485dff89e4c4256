"""Runs that archsmith 0.1.0 made: every later version shows, reports, verifies, exports and resumes them."""

import json
import shutil
from pathlib import Path

import pytest

RUNS = Path(__file__).parent.parent / "fixtures" / "runs"
NAMES = sorted(folder.name for folder in RUNS.iterdir())
SMALL = ["--data", "digits", "--images", "300", "--epochs", "1"]
SMALL += ["--model-option", "widths=[[4,8],[4,8]]", "--model-option", "depths=1,2", "--model-option", "kernels=[3]"]


@pytest.fixture
def run(request, tmp_path):
    return shutil.copytree(RUNS / request.param, tmp_path / request.param)


@pytest.mark.parametrize("run", NAMES, indirect=True)
def test_they_are_shown_and_nothing_in_them_is_written(run, archsmith):
    before = {f: f.read_bytes() for f in run.rglob("*") if f.is_file() and not f.name.endswith("-shm")}
    shown = archsmith("show", run, "--json")
    assert shown.code == 0, shown.err
    summary = json.loads(shown.out)
    assert summary["finished"] == (run.name != "killed")
    assert summary["front"]
    assert {f: f.read_bytes() for f in run.rglob("*") if f.is_file() and not f.name.endswith("-shm")} == before


@pytest.mark.parametrize("run", NAMES, indirect=True)
def test_they_are_reported(run, archsmith):
    assert archsmith("report", run).code == 0
    assert "</html>" in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("run", ["finished", "quantised"], indirect=True)
def test_their_files_are_verified(run, archsmith, monkeypatch):
    from archsmith.errors import DeviceLost

    def away(spec):
        raise DeviceLost(f"{spec} is away")

    monkeypatch.setattr("archsmith.delivery.verifying.open_device", away)  # latencies of another machine do not compare
    verified = archsmith("verify", sorted((run / "exports").glob("*.onnx"))[0], "--json")
    checks = {c["name"]: c["status"] for c in json.loads(verified.out)["checks"]}
    assert verified.code == 0, verified.out
    assert checks.pop("latency") == "skipped"
    assert set(checks.values()) == {"ok"}, verified.out


@pytest.mark.slow
@pytest.mark.parametrize("run", [n for n in NAMES if n != "killed"], indirect=True)
def test_they_are_exported(run, archsmith, tmp_path):
    name = json.loads((run / "front.json").read_text(encoding="utf-8"))["front"][0][:8]
    exported = archsmith("export", run, "--name", name, "--output", tmp_path / "again.onnx", "--json")
    assert exported.code == 0, exported.err
    assert json.loads(exported.out)[0]["certificate"]["version"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("run", ["killed"], indirect=True)
def test_the_same_command_goes_on(run, archsmith):
    before = json.loads(archsmith("show", run, "--json").out)["evaluations"]
    assert 0 < before < 12
    on = ["--minimize", "params", "--on", "onnxruntime:batch=8"]
    ended = archsmith("search", *SMALL, *on, "--budget", "12", "--run", run, "--json")
    assert ended.code == 0, ended.err
    after = json.loads(archsmith("show", run, "--json").out)
    assert after["finished"]
    assert after["evaluations"] == 12 + 1  # the largest network is not of the budget
