"""Quantisation inside the search, from the command line."""

import json

import pytest

from archsmith.export.onnx_tools.quantising import is_quantised

COMMON = ["search", "--data", "digits", "--images", "300", "--epochs", "1", "--minimize", "size_mib", "--budget", "2"]
COMMON += ["--model-option", "depths=1,2", "--model-option", "widths=[[4,8],[4,8]]"]


def test_layers_choose(archsmith, tmp_path):
    more = ["--precisions", "fp32,int8", "--precisions-per", "block", "--keep-fp32", "classifier", "--no-export"]
    done = archsmith(*COMMON, "--run", tmp_path / "r", *more)
    assert done.code == 0, done.err
    fixed = json.loads((tmp_path / "r" / "run.json").read_text())["fixed"]
    names = {c["name"] for c in fixed["space"]["choices"]}
    assert "stage1.0.precision" in names
    assert not any("classifier" in name for name in names)


@pytest.mark.slow
def test_layers_choose_and_the_supernet_of_another_run_is_taken(archsmith, tmp_path):
    plain, run = tmp_path / "plain", tmp_path / "r"
    assert archsmith(*COMMON, "--run", plain, "--no-export").code == 0
    more = ["--precisions", "fp32,int8", "--precisions-per", "block", "--keep-fp32", "classifier", "--trained", plain]
    done = archsmith(*COMMON, "--run", run, *more)
    assert done.code == 0, done.err
    fixed = json.loads((run / "run.json").read_text())["fixed"]
    names = {c["name"] for c in fixed["space"]["choices"]}
    assert "stage1.0.precision" in names
    assert not any("classifier" in name for name in names)
    certified = [json.loads(f.read_text()) for f in (run / "exports").glob("*.certificate.json")]
    assert certified
    for proof in certified:
        file = next(name for name in proof["files"] if name.endswith(".onnx"))
        assert is_quantised((run / "exports" / file).read_bytes()) == ("quantised" in proof)
    again = archsmith(*COMMON, "--run", run, "--trained", plain)
    assert again.code != 0
    assert "precisions" in again.err


def test_options_of_precisions_need_precisions(archsmith, tmp_path):
    refused = archsmith(*COMMON, "--run", tmp_path / "r", "--keep-fp32", "classifier")
    assert refused.code != 0
    assert "need --precisions" in refused.err
    assert not (tmp_path / "r").exists()
