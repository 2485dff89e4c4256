"""What users get wrong, and what happens to files behind their backs: one message with the way out, nothing lost."""

import errno
import json
import shutil
import sys
from pathlib import Path

import pytest

SMALL = ["--data", "digits", "--images", "400", "--epochs", "1", "--model-option", "depths=1,2"]
SMALL += ["--model-option", "widths=[[4,8],[4,8]]"]
COUNTED = [*SMALL, "--minimize", "params", "--no-export", "--budget", "3"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model-option", "depths=a"], "depths='a'"),
        (["--model-option", "depths=2"], "NAME=1,2"),
        (["--model-option", "channels=2"], "built for the data"),
        (["--strategy", "collections:OrderedDict"], "is no strategy"),
        (["--train", "os:path"], "is no training"),
        (["--strategy", "nsga2", "--option", "population=abc"], "population must be a whole number, got 'abc'"),
        (["--on", "onnxruntime:threads=9999"], "processors here"),
        (["--store", "sqlite:///other.db"], "no kind of store"),
        (["--store", "postgresql://nobody@127.0.0.1:1/none"], "cannot reach"),
    ],
)
def test_wrong_kinds_are_named_before_anything_is_spent(tmp_path, archsmith, arguments, said):
    command = archsmith("search", "--run", tmp_path / "r", *COUNTED, *arguments)
    assert command.code == 2, command.err
    assert said in command.err
    assert not (tmp_path / "r").exists()


STRATEGIES = """
import archsmith
from archsmith.method import OURS
from archsmith.strategy.random import RandomSearch
metric = archsmith.UserMetric("l1", lambda network: 1.0, unit="1", goal="min")
class Shuffled(RandomSearch):
    def __init__(self, space, objectives, limits=(), *, rng, shuffle: bool = True, share: "float | None" = None):
        super().__init__(space, objectives, limits, rng=rng)
class Tells(RandomSearch):
    def tell(self, evaluations):
        raise RuntimeError("boom")
class Builds(RandomSearch):
    def __init__(self, *arguments, rng):
        int("boom")
class Words(RandomSearch):
    def ask(self, n):
        return ["depth=3"]
class Nothing(RandomSearch):
    def ask(self, n):
        return None
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with strategies of the user's own, which is the current one."""
    (tmp_path / "ownstrat.py").write_text(STRATEGIES)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("ownstrat", None)


@pytest.mark.usefixtures("own")
def test_strategies_in_the_current_folder_are_found_and_their_options_read(tmp_path, archsmith):
    options = ["--strategy", "ownstrat:Shuffled", "--option", "shuffle=false", "--option", "share=1"]
    done = archsmith("search", "--run", tmp_path / "r", *COUNTED, *options, "--baseline", "ownstrat:Shuffled:2")
    assert done.code == 0, done.err


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strategy", "ownstrat:Tell"], "did you mean 'Tells'? Known: RandomSearch, Shuffled, Tells, Builds, Words,"),
        (["--metric", "ownstrat:metrik"], "did you mean 'metric'? Known: metric\n"),
        (["--option", "shuffle=maybe"], "Shuffled: the option shuffle must be true or false, got 'maybe'"),
        (["--option", "shuffle=1"], "shuffle must be true or false, got 1"),
        (["--option", "share=true"], "share must be a number or left out, got True"),
        (["--strategy", "ownstrat:Builds"], "ownstrat:Builds fails with ValueError: invalid literal for int()"),
    ],
)
def test_mistakes_in_own_strategies_are_told_before_anything_is_spent(tmp_path, archsmith, arguments, said):
    command = archsmith(
        "search", "--run", tmp_path / "r", *COUNTED, "--strategy", "ownstrat:Shuffled", *arguments, "--images", "200"
    )
    assert command.code == 2, command.err
    assert said in command.err
    assert not (tmp_path / "r").exists()


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Tells", "ownstrat:Tells fails with RuntimeError: boom (ownstrat.py, line 11)"),
        ("Words", "ownstrat:Words proposed 'depth=3'; its ask(n) gives a list of"),
        ("Nothing", "ownstrat:Nothing proposed None"),
    ],
)
def test_a_strategy_of_the_users_own_that_fails_is_not_called_our_bug(tmp_path, archsmith, name, said):
    command = archsmith("search", "--run", tmp_path / "r", *COUNTED, "--strategy", f"ownstrat:{name}", "--debug")
    assert command.code == 2, command.err
    assert said in command.err
    assert "a bug" not in command.err
    if name == "Tells":
        assert 'raise RuntimeError("boom")' in command.err  # with --debug, the whole traceback


def test_a_mended_mistake_begins_the_run_anew(tmp_path, archsmith):
    diverged = archsmith("search", "--run", tmp_path / "r", *COUNTED, "--optimizer", "sgd", "--lr", "1e9")
    assert diverged.code == 1
    assert (tmp_path / "r" / "run.json").exists()  # begun, with nothing done
    mended = archsmith("search", "--run", tmp_path / "r", *COUNTED)
    assert mended.code == 0, mended.err
    changed = archsmith("search", "--run", tmp_path / "r", *COUNTED, "--lr", "0.01")
    assert changed.code == 2  # what was trained is not thrown away
    assert "training.lr" in changed.err


def test_lost_weights_come_back_from_the_checkpoint(finished, tmp_path, archsmith):
    run = tmp_path / "r"
    shutil.copytree(finished.folder, run)
    supernet, calibration = (run / f"{name}.safetensors" for name in ("supernet", "calibration"))
    whole = supernet.read_bytes(), calibration.read_bytes()
    supernet.write_bytes(whole[0][:100])
    calibration.unlink()
    name = finished.front["front"][0]["name"]
    refused = archsmith("export", run, "--name", name, "--output", tmp_path / "x.onnx")
    assert refused.code == 2
    assert "makes the file anew" in refused.err
    again = archsmith("search", "--run", run, *finished.command, "--no-export", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["front"] == finished.front["front"]
    assert (supernet.read_bytes(), calibration.read_bytes()) == whole


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("run.json", '{"form', "restore it"),
        ("run.json", "[]", "does not describe a run"),
        ("run.json", '{"format": 1, "id": "a", "store": null, "fixed": {}}', "does not describe a run"),
        ("run.json", '{"format": 99}', "pip install -U archsmith"),
        ("state.json", "[]", "delete it and give"),
        ("state.json", '{"notes', "delete it and give"),
        ("front.json", "[]", "delete it and give"),
        ("front.json", '{"front": ["0123"], "dropped": {}, "evaluator": "", "seed": 0}', "delete it and give"),
    ],
)
def test_damaged_files_of_a_run_are_named(finished, tmp_path, archsmith, file, text, said):
    shutil.copytree(finished.folder, tmp_path / "r", ignore=shutil.ignore_patterns("exports", "*.html"))
    (tmp_path / "r" / file).write_text(text)
    command = archsmith("show", tmp_path / "r")
    assert command.code == 2, command.err
    assert said in command.err


def test_a_home_that_cannot_be_written_is_named(finished, tmp_path, archsmith, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ARCHSMITH_HOME", str(tmp_path / "file" / "home"))
    network = next((finished.folder / "exports").glob("*.onnx"))
    command = archsmith("measure", network)
    assert command.code == 2, command.err
    assert "ARCHSMITH_HOME" in command.err


def test_a_disk_that_fills_while_exporting_is_named_and_leaves_nothing_half_written(
    finished, tmp_path, archsmith, monkeypatch
):
    def full(path, data):
        if path.name.endswith(".safetensors"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", full)
    name = finished.front["front"][0]["name"]
    command = archsmith("export", finished.folder, "--name", name, "--output", tmp_path / "x.onnx")
    assert command.code == 1
    assert "no space left to write" in command.err
    assert not list(tmp_path.glob("*.safetensors"))


def test_other_weights_than_the_runs_are_not_exported(finished, tmp_path, archsmith):
    copy = tmp_path / "copy"
    shutil.copytree(finished.folder, copy)
    shutil.rmtree(copy / "exports")
    weights = bytearray((copy / "supernet.safetensors").read_bytes())
    weights[-8] ^= 1
    (copy / "supernet.safetensors").write_bytes(weights)
    command = archsmith("export", copy)
    assert command.code == 2
    assert "other weights than the run's" in command.err
    assert not (copy / "exports").exists()
