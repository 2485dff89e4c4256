"""The commands that look at runs and files."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest


def test_show(finished, archsmith):
    shown = archsmith("show", finished.folder)
    assert shown.code == 0
    assert all(n["name"] in shown.out for n in finished.front["front"])
    summary = json.loads(archsmith("show", finished.folder, "--json").out)
    assert summary["finished"]
    assert [n["name"] for n in summary["front"]] == [n["name"] for n in finished.front["front"]]


def test_show_reads_a_folder_that_may_only_be_read(finished, tmp_path, archsmith):
    copy = tmp_path / "copy"
    shutil.copytree(finished.folder, copy)
    for path in [*copy.rglob("*"), copy]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert archsmith("show", copy).code == 0
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755)


def test_report_goes_where_it_is_asked(finished, tmp_path, archsmith):
    command = archsmith("report", finished.folder, "--output", tmp_path / "page.html", "--json")
    assert json.loads(command.out)["report"] == str(tmp_path / "page.html")
    assert finished.front["front"][0]["name"] in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that nothing can be made in, even by root")
def test_files_where_none_can_be_made_are_refused(finished, archsmith):
    small = ["--data", "digits", "--images", "200", "--minimize", "params"]
    for command in (["report", finished.folder, "--output"], ["search", *small, "--run"]):
        refused = archsmith(*command, "/proc/archsmith.html")
        assert refused.code == 2, refused.err
        assert re.search(r"cannot write /proc/archsmith.html\S*: nothing can be made there; choose", refused.err)


def test_export_picks_the_best_within_a_limit(finished, tmp_path, archsmith):
    networks = sorted(finished.front["front"], key=lambda n: n["values"]["latency_ms"]["high"])
    bound = networks[0]["values"]["latency_ms"]["high"] + 1e-6
    target = tmp_path / "small.onnx"
    command = archsmith("export", finished.folder, "--pick", f"latency_ms<={bound}", "--output", target, "--json")
    assert command.code == 0, command.err
    [written] = json.loads(command.out)
    assert written["name"] == networks[0]["name"]
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".json", ".onnx", ".safetensors"]
    assert written["certificate"]["accuracy"]["test"]["total"] > 0


@pytest.mark.parametrize("slower", [1.0, 1.5])
def test_export_warns_where_the_certified_file_breaks_the_pick(finished, tmp_path, archsmith, slower):
    network = min(finished.front["front"], key=lambda n: n["values"]["latency_ms"]["high"])
    bound = network["values"]["latency_ms"]["high"] * 1.0001
    run = tmp_path / "r"
    shutil.copytree(finished.folder, run)
    proof = run / "exports" / f"{network['name']}.certificate.json"
    data = json.loads(proof.read_text())
    data["latency"] |= {
        "latency_ms": bound * 0.98 * slower,
        "low": bound * 0.97 * slower,
        "high": bound * 0.99 * slower,
    }
    proof.write_text(json.dumps(data))
    command = archsmith("export", run, "--pick", f"latency_ms<={bound}")
    assert command.code == 0
    said = f"warning: {network['name']}.onnx was picked by latency_ms<={bound:g}, but its certificate says"
    assert (said in command.out) == (slower > 1)


def test_export_of_what_is_there_and_intact_writes_nothing(finished, archsmith):
    before = {p: p.stat().st_mtime_ns for p in (finished.folder / "exports").iterdir()}
    command = archsmith("export", finished.folder)
    assert command.code == 0
    assert "accuracy" in command.out
    assert {p: p.stat().st_mtime_ns for p in (finished.folder / "exports").iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pick", "latency_ms<=0.000001"], "smallest latency_ms"),
        (["--pick", "latncy_ms<=1"], "did you mean 'latency_ms'"),
        (["--name", "zzzz"], "no network begins"),
        (["--name", "0", "--by", "latency_ms"], "not both"),
        (["--by", "latency_ms", "--output", "small.bin"], "small.onnx"),
    ],
)
def test_export_refuses_with_a_way_out(finished, archsmith, arguments, said):
    command = archsmith("export", finished.folder, *arguments)
    assert command.code == 2
    assert said in command.err


def test_export_of_a_run_whose_networks_were_all_dropped_says_so(finished, tmp_path, archsmith):
    run = tmp_path / "r u n"
    shutil.copytree(finished.folder, run)
    kept = json.loads((run / "front.json").read_text())
    dropped = {**kept["dropped"], **dict.fromkeys(kept["front"], "measured again it breaks a limit")}
    (run / "front.json").write_text(json.dumps({**kept, "front": [], "dropped": dropped}))
    command = archsmith("export", run)
    assert command.code == 2
    assert "each broke a limit when it was measured again" in command.err
    assert f"--trained '{run}'" in command.err


def test_verify_holds_and_finds_tampering(finished, tmp_path, archsmith, holds):
    name = finished.front["front"][0]["name"]
    for file in (finished.folder / "exports").glob(f"{name}.*"):
        shutil.copy(file, tmp_path)
    checks = holds(archsmith("verify", tmp_path / f"{name}.onnx", "--json"))
    assert checks["accuracy on val"] == checks["rebuilt module"] == checks["recorded outputs"] == "ok"
    network = tmp_path / f"{name}.onnx"
    network.write_bytes(network.read_bytes()[:-64])
    broken = archsmith("verify", network)
    assert broken.code == 1
    assert "DOES NOT HOLD" in broken.out


def test_verify_skips_what_is_not_at_hand(finished, tmp_path, archsmith, holds):
    name = finished.front["front"][0]["name"]
    for file in (finished.folder / "exports").glob(f"{name}.*"):
        shutil.copy(file, tmp_path)
    described, certificate = tmp_path / f"{name}.architecture.json", tmp_path / f"{name}.certificate.json"
    data = json.loads(described.read_text())
    described.write_text(json.dumps(data | {"source": {"factory": "a_module_of_somebody:net", "options": {}}}))
    proof = json.loads(certificate.read_text())
    proof["files"][described.name] = hashlib.sha256(described.read_bytes()).hexdigest()
    certificate.write_text(json.dumps(proof))
    held = archsmith("verify", certificate, "--json")
    assert holds(held)["rebuilt module"] == "skipped"
    assert "a_module_of_somebody" in held.out


def test_verify_without_a_certificate(tmp_path, archsmith):
    (tmp_path / "lonely.onnx").write_bytes(b"")
    command = archsmith("verify", tmp_path / "lonely.onnx")
    assert command.code == 2
    assert "certificate" in command.err


def test_measure(finished, archsmith):
    file = finished.folder / "exports" / f"{finished.front['front'][0]['name']}.onnx"
    found = json.loads(archsmith("measure", file, "--on", "onnxruntime:batch=4", "--json").out)
    assert 0 < found["low"] <= found["latency_ms"] <= found["high"]
    assert archsmith("measure", file.with_name("none.onnx")).code == 2


def test_devices(archsmith):
    found = {d["name"]: d for d in json.loads(archsmith("devices", "--json").out)}
    assert found["onnxruntime"]["works"]
    assert found["torch_cpu"]["spec"] == "torch_cpu:threads=1,batch=1"
    assert found["openvino"]["files"] == [".onnx"]
    assert all(d["works"] == (not d["why_not"]) for d in found.values())
    assert {d["hardware"] for d in found.values()} >= {"cpu", "cuda"}
    assert "onnxruntime" in archsmith("devices").out


def test_methods(archsmith):
    found = json.loads(archsmith("methods", "--json").out)
    assert {"linas", "nsga2", "random"} <= {m["name"] for m in found if m["role"] == "strategy"}
    assert all(m["summary"] and m["paper"] for m in found)
    assert "nsga2" in archsmith("methods", "strategy").out
    assert "residual" not in archsmith("methods", "strategy").out
    assert "did you mean 'strategy'" in archsmith("methods", "stratgy").err


def test_bibtex(archsmith):
    text = archsmith("methods", "strategy", "--bibtex").out
    entries = re.findall(r"^@\w+\{(\w+),", text, flags=re.MULTILINE)
    assert {"linas", "nsga2"} <= set(entries)
    assert len(entries) == len(set(entries))
    assert text.count("{") == text.count("}")


def test_profile(finished, archsmith):
    file = next((finished.folder / "exports").glob("*.onnx"))
    said = archsmith("profile", file, "--on", "onnxruntime:batch=4", "--calls", "3")
    assert said.code == 0
    assert f"{file.name}: " in said.out
    assert "█" in said.out
    found = json.loads(archsmith("profile", file, "--on", "onnxruntime:batch=4", "--calls", "3", "--json").out)
    assert found["calls"] == 3
    assert any("Conv" in o["kind"] and o["module"] for o in found["operators"])
    assert archsmith("profile", file, "--calls", "0").code == 2
    assert "does not report times" in archsmith("profile", file, "--on", "torch_cpu").err


@pytest.mark.parametrize(
    "command", ["search", "show", "report", "export", "verify", "measure", "profile", "devices", "methods"]
)
def test_help_explains_every_option(archsmith, command):
    shown = archsmith(command, "--help")
    assert shown.code == 0
    assert "--json" in shown.out
    assert "Usage" in shown.out


def test_no_run_here(tmp_path, archsmith):
    for command in ("show", "report", "export"):
        refused = archsmith(command, tmp_path / "none")
        assert refused.code == 2
        assert "no run at" in refused.err
