"""Somebody else's files: what they name is not imported, opened or connected to, and what can be verified is."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import archsmith as archsmith_package
from archsmith.api.run import Run
from archsmith.errors import RunMismatch, Untrusted, UserError
from archsmith.files import append_line

EVIL = "from pathlib import Path\nPath('{}').write_text('ran')\n"


def rewrite(path, change):
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """The current folder holds a module that leaves a mark when it is imported; gives the mark."""
    mark = tmp_path / "ran"
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "evil.py").write_text(EVIL.format(mark), encoding="utf-8")
    monkeypatch.chdir(tmp_path / "here")
    return mark


@pytest.fixture
def exported(finished, tmp_path):
    """A copy of a certified file; ``exported(source=..., data=..., device=...)`` names other things, hashes fitting."""

    def copy(*, source=None, data=None, device=None):
        name = finished.front["front"][0]["name"]
        for file in (finished.folder / "exports").glob(f"{name}.*"):
            shutil.copy(file, tmp_path)
        described, proof = (tmp_path / f"{name}{end}" for end in (".architecture.json", ".certificate.json"))
        if source is not None:
            rewrite(described, lambda d: d.update(source=source))

        def change(certificate):
            certificate["files"][described.name] = hashlib.sha256(described.read_bytes()).hexdigest()
            certificate["device"]["spec"] = device or "evil:Device"
            if data is not None:
                certificate["export"]["data"].update(data)

        rewrite(proof, change)
        return tmp_path / f"{name}.onnx"

    return copy


@pytest.fixture
def foreign(finished, tmp_path):
    """A copy of a run; ``foreign(change)`` is one whose ``run.json`` says something else."""

    def copy(change=lambda record: None):
        shutil.copytree(finished.folder, tmp_path / "run")
        rewrite(tmp_path / "run" / "run.json", change)
        return tmp_path / "run"

    return copy


@contextmanager
def listening():
    """A port of this machine, and whether anybody has connected to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)

        def met():
            try:
                server.accept()
            except BlockingIOError:
                return False
            return True

        yield server.getsockname()[1], met


def statuses(command):
    return {c["name"]: (c["status"], c["detail"]) for c in json.loads(command.out)["checks"]}


SOURCES = [
    {"factory": "subprocess:getoutput", "options": {"cmd": "touch {mark}"}},
    {"factory": "evil:build", "options": {}},
    {"network": "evil:Network", "options": {}},
    {"model": "hf/org/name", "options": {"classes": 10, "channels": 1, "image_size": [8, 8]}},
    {"model": "timm/resnet18", "options": {"checkpoint_path": "{mark}", "channels": 1, "image_size": [8, 8]}},
    {"model": "torchvision/resnet18", "options": {"pretrained": True, "channels": 3, "image_size": [8, 8]}},
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: next(iter(s.values())))
def test_verify_builds_nothing_that_a_file_names(exported, archsmith, evil, source):
    source = json.loads(json.dumps(source).replace("{mark}", str(evil)))
    file = exported(source=source, data={"spec": "evil:data"})
    command = archsmith("verify", file, "--json")
    assert command.code == 0, command.out
    assert not evil.exists()
    checks = statuses(command)
    assert checks["recorded outputs"][0] == "ok"  # the file is judged all the same
    for skipped in ("rebuilt module", "accuracy on val", "latency"):
        assert checks[skipped][0] == "skipped"
        assert "--trust" in checks[skipped][1], checks[skipped]


@pytest.mark.slow
def test_verify_of_a_foreign_copy_imports_archsmith_and_its_dependencies_only(exported, tmp_path, evil):
    file = exported(source={"factory": "evil:build", "options": {}}, data={"spec": "evil:data"})
    for name in ("timm", "torchvision", "transformers", "data", "subnet", file.stem):
        (Path.cwd() / f"{name}.py").write_text(EVIL.format(evil), encoding="utf-8")
    code = """
import json, sys
from pathlib import Path
from archsmith.cli import main
try:
    main()
except SystemExit as ended:
    files = [getattr(m, "__file__", None) for m in list(sys.modules.values())]
    Path(FOUND).write_text(json.dumps([ended.code or 0, [f for f in files if f]]))
"""
    found = tmp_path / "found.json"
    command = [sys.executable, "-P", "-c", code.replace("FOUND", repr(str(found))), "verify", str(file)]
    environment = {"PATH": os.environ["PATH"], "ARCHSMITH_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    code, files = json.loads(found.read_text(encoding="utf-8"))
    places = {Path(archsmith_package.__file__).parent, *map(Path, (sys.prefix, sys.base_prefix))}
    places |= {place.resolve() for place in places}
    real = [f for f in files if Path(f).is_absolute()]  # torch has modules that are no files
    strange = [f for f in real if not any(Path(f).is_relative_to(place) for place in places)]
    assert (code, strange) == (0, [])
    assert not evil.exists()


def test_verify_with_trust_follows_names_but_never_looks_into_the_current_folder(
    exported, archsmith, evil, monkeypatch
):
    file = exported(source={"factory": "evil:build", "options": {}}, data={"spec": "evil:data"})
    command = archsmith("verify", file, "--trust", "--json")
    assert not evil.exists()
    assert "cannot find the module" in statuses(command)["rebuilt module"][1]
    monkeypatch.syspath_prepend(str(Path.cwd()))  # as PYTHONPATH=. would
    archsmith("verify", file, "--json")  # remembered
    assert evil.exists()


def test_verify_connects_to_nothing_that_a_file_names(exported, archsmith, monkeypatch):
    monkeypatch.setenv("ARCHSMITH_AGENT_TOKEN", "secret-token")
    with listening() as (port, met):
        command = archsmith("verify", exported(device=f"remote:127.0.0.1:{port}", data={"spec": "/dev/zero"}), "--json")
        assert not met()
    assert statuses(command)["latency"][0] == "skipped"
    assert "connect to" in statuses(command)["latency"][1]
    assert "open the data /dev/zero" in statuses(command)["accuracy on val"][1]


def test_verify_ends_with_2_where_nothing_could_be_verified(exported, archsmith, monkeypatch):
    from archsmith.errors import MissingExtra

    def missing(*_):
        raise MissingExtra("Running an ONNX file needs the package 'onnxruntime'")

    monkeypatch.setattr("archsmith.certificate.checking.OnnxFile", missing)
    command = archsmith("verify", exported(source={"factory": "evil:build", "options": {}}, data={"spec": "evil:data"}))
    assert command.code == 2
    assert "could not be verified (5 of 8 checks skipped)" in command.out


@pytest.mark.parametrize("verb", ["show", "report", "export"])
def test_databases_that_a_run_names_are_not_connected_to(foreign, archsmith, monkeypatch, verb):
    monkeypatch.setenv("PGPASSWORD", "secret")
    with listening() as (port, met):
        command = archsmith(verb, foreign(lambda r: r.update(store=f"postgresql://me@127.0.0.1:{port}/runs")))
        assert not met()
    assert command.code == 2
    assert f"connect to postgresql://me@127.0.0.1:{port}/runs" in command.err
    assert "--trust" in command.err


@pytest.mark.parametrize("store", ["../other.db", "/etc/passwd", "sqlite:///other.db", "", 7])
def test_a_store_is_in_the_run_or_in_postgresql(foreign, archsmith, tmp_path, store):
    (tmp_path / "other.db").touch()
    run = foreign(lambda r: r.update(store=store))
    command = archsmith("show", run)
    assert command.code == 2
    assert "run.json does not describe a run" in command.err
    assert not (tmp_path / "other.db").read_bytes()


NAMES = [
    (lambda r: r["fixed"].update(model={"factory": "evil:build", "options": {}}), "import evil:build"),
    (lambda r: r["fixed"].update(device="evil:Device"), "import evil:Device"),
    (lambda r: r["fixed"].update(device="remote:127.0.0.1:1"), "connect to"),
    (lambda r: r["fixed"]["data"].update(spec="evil:data"), "import evil:data|open the data evil:data"),
]


@pytest.mark.parametrize(("change", "said"), NAMES, ids=["model", "device", "agent", "data"])
def test_export_follows_no_name_of_somebody_elses_run(foreign, archsmith, evil, change, said):
    run = foreign(change)
    name = json.loads((run / "front.json").read_text(encoding="utf-8"))["front"][0][:8]
    command = archsmith("export", run, "--name", name, "--output", run.parent / "x.onnx")
    assert command.code == 2
    assert any(part in command.err for part in said.split("|")), command.err
    assert not evil.exists()
    assert not (run.parent / "x.onnx").exists()


def test_exports_of_somebody_elses_run_stay_in_its_folder(foreign, archsmith, tmp_path):
    run = foreign()
    shutil.rmtree(run / "exports")
    (tmp_path / "elsewhere").mkdir()
    (run / "exports").symlink_to(tmp_path / "elsewhere")
    command = archsmith("export", run)
    assert command.code == 2
    assert "exports is a link" in command.err
    assert not any((tmp_path / "elsewhere").iterdir())


def test_runs_are_own_where_they_were_made_and_once_they_are_trusted(tmp_path):
    fixed = {"model": None, "space": {}, "device": "onnxruntime", "data": {"fingerprint": "f"}}
    assert Run.begin(tmp_path / "mine", fixed).names.own
    assert Run.open(tmp_path / "mine").names.own
    shutil.copytree(tmp_path / "mine", tmp_path / "moved")
    assert not Run.open(tmp_path / "moved").names.own
    assert Run.open(tmp_path / "moved", trust=True).names.own
    assert Run.open(tmp_path / "moved").names.own
    rewrite(tmp_path / "moved" / "run.json", lambda r: r["fixed"].update(device="evil:Device"))
    assert not Run.open(tmp_path / "moved").names.own  # somebody has changed what it names
    assert Run.begin(tmp_path / "moved", {**fixed, "device": "evil:Device"}).names.own  # the user names the same


def test_report_replaces_no_device(finished, tmp_path, archsmith):
    os.mkfifo(tmp_path / "pipe")
    command = archsmith("report", finished.folder, "--output", tmp_path / "pipe")
    assert command.code == 2
    assert "it is a pipe, not a file" in command.err
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("own_file", ["run.json", "store.db", "front.json"])
def test_a_report_replaces_reports_only(finished, tmp_path, archsmith, own_file):
    shutil.copytree(finished.folder, tmp_path / "run")
    before = (tmp_path / "run" / own_file).read_bytes()
    command = archsmith("report", tmp_path / "run", "--output", tmp_path / "run" / own_file)
    assert command.code == 2
    assert "exists and is no report" in command.err
    assert (tmp_path / "run" / own_file).read_bytes() == before
    assert archsmith("report", tmp_path / "run").code == 0  # the page that is there is one


def test_an_export_replaces_no_weights_of_the_run(finished, archsmith):
    before = (finished.folder / "supernet.safetensors").read_bytes()
    name = finished.front["front"][0]["name"]
    command = archsmith("export", finished.folder, "--name", name, "--output", finished.folder / "supernet.onnx")
    assert command.code == 2
    assert "belongs to no exported network" in command.err
    assert (finished.folder / "supernet.safetensors").read_bytes() == before


@pytest.mark.parametrize("where", ["training", "state.json", "exports/note.txt", "run.json"])
def test_somebody_elses_folder_with_links_is_not_read(foreign, archsmith, tmp_path, where):
    run, elsewhere = foreign(), tmp_path / "elsewhere"
    if (run / where).is_dir() or (run / where).exists():
        (run / where).rename(elsewhere)
    else:
        elsewhere.write_text("mine", encoding="utf-8")
    (run / where).symlink_to(elsewhere)
    command = archsmith("show", run)
    assert command.code == 2
    assert "is a link to something elsewhere" in command.err


def test_a_link_to_a_run_of_ones_own_makes_no_folder_ones_own(tmp_path):
    fixed = {"model": None, "space": {}, "device": "onnxruntime", "data": {"fingerprint": "f"}}
    Run.begin(tmp_path / "mine", fixed)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "run.json").symlink_to(tmp_path / "mine" / "run.json")
    with pytest.raises(Untrusted, match="is a link"):
        Run.open(tmp_path / "theirs")


def test_somebody_elses_folder_is_not_begun_anew_nor_written_through_other_names(tmp_path):
    fixed = {"model": None, "space": {}, "device": "onnxruntime", "data": {"fingerprint": "f"}}
    Run.begin(tmp_path / "mine", fixed)
    shutil.copytree(tmp_path / "mine", tmp_path / "theirs")
    with pytest.raises(RunMismatch, match="was begun with other settings"):
        Run.begin(tmp_path / "theirs", {**fixed, "device": "openvino"})
    (tmp_path / "diary").write_text("mine", encoding="utf-8")
    (tmp_path / "theirs" / "measurements.jsonl").hardlink_to(tmp_path / "diary")
    with pytest.raises(Untrusted, match=r"measurements[.]jsonl is a link"):
        Run.begin(tmp_path / "theirs", fixed)
    with pytest.raises(UserError, match="it is a link to a file elsewhere"):
        append_line(tmp_path / "theirs" / "measurements.jsonl", "{}")
    assert (tmp_path / "diary").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("sizes", [{"depths": [1, 10**6]}, {"widths": [[4, 5000]]}, {"image_size": [10**5, 10**5]}])
def test_sizes_in_somebody_elses_file_are_bounded(exported, finished, archsmith, sizes):
    name = finished.front["front"][0]["name"]
    described = finished.folder / "exports" / f"{name}.architecture.json"
    source = json.loads(described.read_text(encoding="utf-8"))["source"]
    source["options"] |= sizes
    file = exported(source=source, data={"spec": "evil:data"}, device="onnxruntime:threads=1,batch=3000000")
    checks = statuses(archsmith("verify", file, "--json"))
    assert "more than 4,096" in checks["rebuilt module"][1]
    assert "more than 4,096" in checks["latency"][1]


def test_a_network_that_is_a_pipe_or_missing_is_said_once(exported, archsmith):
    file = exported(data={"spec": "evil:data"})
    file.unlink()
    os.mkfifo(file)
    checks = statuses(archsmith("verify", file.with_suffix(".certificate.json"), "--json"))
    assert [name for name, (status, _) in checks.items() if status == "failed"] == [f"file {file.name}"]
    file.unlink()
    command = archsmith("verify", file.with_suffix(".certificate.json"), "--json")
    assert command.code == 1
    assert [n for n, (status, _) in statuses(command).items() if status == "failed"] == [f"file {file.name}"]


def test_calibration_that_the_network_cannot_run_is_named(foreign, archsmith, tmp_path):
    from safetensors.torch import save_file

    run = foreign()
    name = json.loads((run / "front.json").read_text(encoding="utf-8"))["front"][0][:8]
    for tensors, said in (
        ({"0.0": torch.zeros(2, 7, 8, 8)}, "cannot run the calibration batch of shapes [[2, 7, 8, 8]]"),
        ({"\u00b2.0": torch.zeros(2, 1, 8, 8)}, "calibration batches are called NUMBER.INPUT"),
    ):
        save_file(tensors, run / "calibration.safetensors")
        command = archsmith("export", run, "--name", name, "--output", tmp_path / "x.onnx")
        assert command.code == 2
        assert said in command.err


def test_exports_that_came_with_a_run_are_not_taken_for_proved_here(foreign, finished, archsmith, monkeypatch):
    command = archsmith("export", foreign())
    assert command.code == 0
    assert command.out.count("is not verified here") == len(finished.front["front"])
    monkeypatch.setenv("ARCHSMITH_HOME", str(finished.home))
    assert "proved here" not in archsmith("export", finished.folder).out
