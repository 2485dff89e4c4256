"""``archsmith search``: the whole job, resumed, interrupted, refused."""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from rich.progress import Progress as Bars

import archsmith as smith
from archsmith.cli import _console
from archsmith.cli.search import parse_options
from archsmith.errors import InvalidOption, RunLocked
from archsmith.store import Store

SMALL = ["--data", "digits", "--images", "500", "--epochs", "1", "--model-option", "depths=1,2"]
SMALL += ["--model-option", "widths=[[4,8],[4,8]]"]
COUNTED = [*SMALL, "--minimize", "params", "--no-export"]


def test_a_search_ends_with_verified_files_and_a_report(finished):
    front = finished.front["front"]
    assert front
    for network in front:
        for suffix in (".onnx", ".safetensors", ".architecture.json", ".certificate.json"):
            assert (finished.folder / "exports" / (network["name"] + suffix)).stat().st_size > 0
        assert network["values"]["latency_ms"]["source"] == "measured"
        assert network["values"]["latency_ms"]["low"] < network["values"]["latency_ms"]["high"]
        assert network["values"]["test_accuracy_top1"]["high"] <= 100
    [limit] = finished.front["limits"]
    assert all(n["values"]["latency_ms"]["high"] <= limit["bound"] for n in front)
    assert "<html" in (finished.folder / "report.html").read_text(encoding="utf-8")
    for stage in ("data", "train", "search", "baseline", "check", "export", "report"):
        assert f"\n{stage}" in f"\n{finished.err}"


def test_the_journals_hold_what_was_asked_for(finished):
    run = smith.Run.open(finished.folder)
    assert len(run.evaluations()) == 8  # the budget, and the largest network that the limit refers to
    assert len(run.evaluations("baseline-random")) == 2
    assert run.header()["limits_as_written"] == ["latency_ms<=90%"]


def test_the_same_command_again_answers_at_once(finished, archsmith, monkeypatch):
    monkeypatch.setenv("ARCHSMITH_HOME", str(finished.home))  # where it is known as one's own
    before = (finished.folder / "store.db").read_bytes()
    again = archsmith("search", "--run", finished.folder, *finished.command, "--json")
    assert again.code == 0
    assert json.loads(again.out)["front"] == finished.front["front"]
    assert "train" not in again.err
    assert "search" not in again.err
    assert (finished.folder / "store.db").read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (["--epochs", "3"], "training.epochs: 1 -> 3"),
        (["--model-option", "depths=1,2,3"], "model.options.depths"),
        (["--images", "400"], "data.images: 500 -> 400"),
        (["--strategy", "random"], 'strategy: "auto" -> "random"'),
        (["--limit", "latency_ms<=95%"], "limits"),
        (["--on", "torch_cpu:batch=8"], 'device: "onnxruntime:threads=1,batch=8" -> "torch_cpu:threads=1,batch=8"'),
    ],
)
def test_a_changed_option_is_named_on_resume(finished, archsmith, changed, named):
    before = list(finished.command)
    if changed[0] == "--on":  # given twice it would be two devices
        before[before.index("--on") : before.index("--on") + 2] = []
    command = archsmith("search", "--run", finished.folder, *before, *changed)
    assert command.code == 2
    assert named in command.err
    assert "Traceback" not in command.err


def test_commands_to_copy_name_the_run_as_a_shell_reads_it(finished, tmp_path, archsmith):
    run = tmp_path / "a b"
    shutil.copytree(finished.folder, run)
    again = archsmith("search", "--run", run, *finished.command)
    assert f"archsmith show '{run}', archsmith export '{run}' --pick" in again.out


def test_a_budget_of_time_is_shown_as_time_beside_the_evaluations(tmp_path, archsmith):
    done = archsmith("search", "--run", tmp_path / "r", *COUNTED, "--budget", "2s")
    assert done.code == 0, done.err
    assert re.search(
        r"^search \d+ s/2 s(, 2 s left|, 1 s left)?  \d+ evaluations?  accuracy_top1", done.err, re.MULTILINE
    )


def test_without_a_device_nothing_is_timed(tmp_path, archsmith):
    command = archsmith("search", "--run", tmp_path / "r", *COUNTED, "--budget", "3", "--json")
    assert command.code == 0, command.err
    assert set(json.loads(command.out)["front"][0]["values"]) == {
        "accuracy_top1",
        "test_accuracy_top1",
        "params",
        "macs",
    }


def test_limits_on_costs_that_nothing_meets_are_refused_before_training(tmp_path, archsmith):
    command = archsmith("search", "--run", tmp_path / "r", *COUNTED, "--limit", "params<=10", "--budget", "200")
    assert command.code == 2
    [said] = re.findall(r"^archsmith: (.*)$", command.err, flags=re.MULTILINE)
    least = int(
        re.search(r"smallest params among 6 networks that were tried is (\d+), of the smallest network", said)[1]
    )
    bound = re.search(r"this network meets (params<=\d+)", said)[1]
    assert "nothing meets params<=10" in said
    assert "\ntrain" not in command.err
    assert not (tmp_path / "r" / "supernet.safetensors").exists()
    met = archsmith("search", "--run", tmp_path / "r", *COUNTED, "--limit", bound, "--budget", "3", "--json")
    assert met.code == 0, met.err  # the same folder, and the bound that the message offered
    assert min(n["values"]["params"]["value"] for n in json.loads(met.out)["front"]) == least


def test_limits_on_latency_that_nothing_meets_are_refused_before_training(tmp_path, archsmith):
    command = ["search", "--run", tmp_path / "r", *SMALL, "--on", "onnxruntime:batch=8", "--no-export"]
    for limit in ("latency_ms<=0.0001", "latency_ms<=0.1%"):
        refused = archsmith(*command, "--limit", limit)
        assert refused.code == 2
        assert f"nothing meets {limit}" in refused.err
        assert re.search(
            r"the smallest latency_ms among \d+ networks that were tried is [\d.]+ \(95 % interval", refused.err
        )
        assert "goes on in" in refused.err
        assert "\ntrain" not in refused.err


def test_limits_on_accuracy_that_nothing_meets_end_early_with_the_largest_value(tmp_path, archsmith):
    limit = "accuracy_top1>=99.99"
    command = archsmith("search", "--run", tmp_path / "r", *COUNTED, "--limit", limit, "--budget", "200")
    assert command.code == 2
    assert f"nothing meets {limit}" in command.err
    assert "largest accuracy_top1" in command.err
    assert "need not train again" in command.err
    with Store.open(tmp_path / "r" / "store.db") as store:
        kept = store.evaluations()
    assert 20 <= len(kept) < 30  # nothing is lost, and little was spent
    assert f"{max(e['accuracy_top1'] for e in kept):.4g}" in command.err


def test_limits_that_exclude_each_other_are_told_as_a_choice(tmp_path, archsmith):
    limits = ["--limit", "params<=1500", "--limit", "macs>=200000"]
    command = archsmith("search", "--run", tmp_path / "r", *COUNTED, *limits, "--budget", "12")
    assert command.code == 2
    assert "meets params<=1500, macs>=200000 at once" in command.err
    assert "with macs ≥ 200k, the smallest params found is" in command.err
    assert "with params ≤ 1500, the largest macs found is" in command.err
    assert ".." not in command.err.rpartition("archsmith:")[2].replace("...", "")
    shown = archsmith("show", tmp_path / "r")
    assert "No network meets all limits at once: with macs ≥ 200k" in shown.out
    for path in (tmp_path / "r", tmp_path / "r" / "front.json"):  # ended by its budget, or by patience
        refused = archsmith("export", tmp_path / "r")
        assert refused.code == 2
        assert "No network meets all limits at once: with macs ≥ 200k" in refused.err
        assert f"--trained {tmp_path / 'r'}" in refused.err
        assert ("stopped" in refused.err) == (path.name == "front.json")
        (tmp_path / "r" / "front.json").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("limit", "said"), [("accuracy_top1>=101", "a percentage, at most 100"), ("latency_ms<=-1", "never below 0")]
)
def test_limits_outside_of_what_a_metric_can_be_are_refused_at_once(tmp_path, archsmith, limit, said):
    command = archsmith("search", "--run", tmp_path / "r", *COUNTED, "--limit", limit)
    assert command.code == 2
    assert said in command.err
    assert not (tmp_path / "r").exists()


def test_trying_limits_changes_nothing_of_what_is_trained(tmp_path, archsmith):
    common = [*SMALL, "--on", "torch_cpu:batch=8", "--no-export", "--budget", "2"]
    for name, limit in (("with", ["--limit", "latency_ms<=90%"]), ("without", [])):
        done = archsmith("search", "--run", tmp_path / name, *common, *limit)
        assert done.code == 0, done.err
    runs = [smith.Run.open(tmp_path / name) for name in ("with", "without")]
    assert runs[0].weights == runs[1].weights
    assert "trying the limits" in runs[0].timing
    assert "trying the limits" not in runs[1].timing


@pytest.fixture
def during(monkeypatch):
    """``during(stage, action)``: the first time that something is told of a stage, an action."""

    def wanted(stage, action):
        told, waiting = _console._Lines.__call__, [action]

        def listening(self, event):
            told(self, event)
            if event.stage == stage and waiting:
                waiting.pop()()

        monkeypatch.setattr(_console._Lines, "__call__", listening)

    return wanted


def test_stopped_and_resumed(tmp_path, archsmith, during):
    arguments = ("search", "--run", tmp_path / "r", *COUNTED, "--budget", 3, "--json")
    during("train", lambda: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # so that a signal that nobody waits for harms nobody
    try:
        stopped = archsmith(*arguments)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stopped.code == 130, stopped.err
    assert "the same command goes on" in stopped.err
    ends_whole(archsmith, arguments, tmp_path / "r", budget=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "wait_for", "budget"), [(signal.SIGTERM, "train", 3), (signal.SIGKILL, "search", 20)]
)
def test_a_process_is_stopped_and_resumed(tmp_path, start, archsmith, number, wait_for, budget):
    arguments = ("search", "--run", tmp_path / "r", *COUNTED, "--budget", budget, "--json")
    process = start(*arguments)
    for line in process.stderr:
        if line.startswith(wait_for):
            break
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 130, err
        assert "the same command goes on" in err
    ends_whole(archsmith, arguments, tmp_path / "r", budget=budget)


def ends_whole(archsmith, arguments, folder, *, budget):
    stored = smith.Run.open(folder).evaluations() if (folder / "store.db").exists() else []
    resumed = archsmith(*arguments)
    assert resumed.code == 0, resumed.err
    after = smith.Run.open(folder).evaluations()
    assert after[: len(stored)] == stored
    assert len({e.identity for e in after}) == len(after) == budget + 1


def test_a_second_process_is_refused(finished, archsmith):
    hold = (
        "import sys\nfrom archsmith.store import Store\n"
        f"with Store.open({str(finished.folder / 'store.db')!r}) as store, store.journal('search').locked():\n"
        "    print('held', flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        refused = archsmith("search", "--run", finished.folder, *finished.command, "--seed", "0", "--budget", "9")
        other.stdin.close()
    assert refused.code == 2
    assert str(other.pid) in refused.err


def test_whoever_trains_holds_the_run(tmp_path, archsmith, during):
    seen = []

    def writing():
        with pytest.raises(RunLocked, match=f"is being written by process {os.getpid()} "):
            smith.Run.open(tmp_path / "r").writing().__enter__()
        seen.append((tmp_path / "r" / "state.json").exists())

    during("train", writing)
    assert archsmith("search", "--run", tmp_path / "r", *COUNTED, "--budget", "1").code == 0
    assert seen == [True]


@pytest.mark.slow
def test_a_second_process_is_refused_while_the_first_trains(tmp_path, start, archsmith):
    arguments = ("search", "--run", tmp_path / "r", *COUNTED, "--epochs", "500")
    first = start(*arguments)
    try:
        for line in first.stderr:
            if line.startswith("train"):
                break
        state = (tmp_path / "r" / "state.json").read_bytes()
        refused = archsmith(*arguments)
        assert refused.code == 2
        assert f"{tmp_path / 'r'} is being written by process {first.pid} " in refused.err
        assert (tmp_path / "r" / "state.json").read_bytes() == state
    finally:
        first.kill()
        first.communicate()


def test_exports_wait_for_no_other_process(finished, archsmith):
    with smith.Run.open(finished.folder).writing():
        refused = archsmith("export", finished.folder)
    assert refused.code == 2
    assert "is being written by process" in refused.err
    assert archsmith("export", finished.folder).code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strategy", "nsga2x"], "did you mean 'nsga2'"),
        (["--strategy", "nsga2", "--option", "populaton=5"], "has no option populaton"),
        (["--option", "population"], "NAME=VALUE"),
        (["--on", "onnxruntim"], "did you mean 'onnxruntime'"),
        (["--on", "onnxruntime:thread=1"], "threads"),
        (["--data", "digit"], "did you mean 'digits'"),
        (["--data", "nowhere/images"], "nowhere/images"),
        (["--minimize", "latency"], "did you mean 'latency_ms'"),
        (["--minimize", "accuracy_top1"], "one objective only"),
        (["--limit", "latency_ms=3"], "METRIC<=NUMBER"),
        (["--limit", "latncy_ms<=3"], "did you mean 'latency_ms'"),
        (["--train", "sandwhich"], "did you mean 'sandwich'"),
        (["--model", "residual_net"], "residual_convnet"),
        (["--model", "no_such_module:net"], "no_such_module"),
        (["--model-option", "width=3"], "has no option width"),
        (["--model-option", "kernels=2,4"], "odd"),
        (["--baseline", "random"], "STRATEGY:EVALUATIONS"),
        (["--baseline", "rnadom:5"], "did you mean 'random'"),
        (["--budget", "ten"], "30m"),
        (["--classes", "7"], "10 classes"),
        (["--metric", "math:pi"], "UserMetric"),
        (["--lr", "-1"], "lr"),
        (["--optimizer", "adam"], "adamw"),
    ],
)
def test_mistakes_get_one_message_before_anything_is_spent(tmp_path, archsmith, arguments, said):
    data = [] if "--data" in arguments else ["--data", "digits"]
    command = archsmith("search", "--run", tmp_path / "r", "--images", "400", *data, *arguments)
    assert command.code == 2, command.err
    assert said in command.err
    assert "Traceback" not in command.err
    assert "epoch" not in command.err


def test_a_trained_supernet_is_taken_from_another_run(finished, tmp_path, archsmith):
    taken = ["--trained", finished.folder, "--minimize", "params", "--no-export", "--budget", "3"]
    command = archsmith("search", "--run", tmp_path / "r", *SMALL, *taken, "--json")
    assert command.code == 0, command.err
    assert "epoch" not in command.err
    run = smith.Run.open(tmp_path / "r")
    assert run.weights == smith.Run.open(finished.folder).weights
    assert "taken from" in " ".join(run.notes)
    other = archsmith("search", "--run", tmp_path / "other", *SMALL, "--seed", "1", *taken)
    assert other.code == 2
    assert "data.seed: 0 -> 1" in other.err


def test_a_supernet_is_taken_as_it_was_trained(finished, tmp_path, archsmith):
    taken = [*SMALL[:4], *SMALL[6:], "--trained", finished.folder]
    other = ["--epochs", "7", "--lr", "0.1", "--batch-size", "13", "--optimizer", "sgd", "--train", "single_path"]
    refused = archsmith("search", "--run", tmp_path / "r", *taken, *other)
    assert refused.code == 2
    for said in (
        "train: ",
        "epochs: 1 -> 7",
        "lr: 0.003 -> 0.1",
        "batch-size: 64 -> 13",
        'optimizer: "adamw" -> "sgd"',
    ):
        assert said in refused.err
    assert not (tmp_path / "r").exists()
    same = ["--epochs", "1", "--lr", "0.003", "--optimizer", "adamw"]
    refused = archsmith("search", "--run", tmp_path / "r", *taken, *same, "--model", "residual_net")
    assert "did you mean" in refused.err  # of training, nothing is said


def test_a_run_that_trained_nothing_has_no_supernet_to_take(finished, tmp_path, archsmith):
    described = json.loads((finished.folder / "run.json").read_text())
    del described["fixed"]["training"]
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "run.json").write_text(json.dumps(described))
    refused = archsmith("search", "--run", tmp_path / "r", "--data", "digits", "--trained", tmp_path / "python")
    assert refused.code == 2
    assert "searched from Python and has trained nothing" in refused.err


@pytest.mark.parametrize(
    "wrong", [("--optimizer", "adam"), ("--lr", "-1"), ("--model", "nope"), ("--strategy", "lina")]
)
def test_names_and_rates_are_checked_before_images_are_read(tmp_path, archsmith, wrong):
    command = archsmith("search", "--run", tmp_path / "r", "--data", "digits", *wrong)
    assert command.code == 2
    assert "reading" not in command.err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("here.db", "postgresql://"),
        ("postgresql://me:secret@localhost/nas", "PGPASSWORD"),
        ("postgresql://localhost/nas?password=secret", "PGPASSWORD"),
    ],
)
def test_a_store_that_should_not_be_written_down_is_refused(tmp_path, archsmith, store, said):
    command = archsmith("search", "--run", tmp_path / "r", *COUNTED, "--store", store)
    assert command.code == 2
    assert said in command.err
    assert "secret" not in command.err
    assert not (tmp_path / "r").exists()


def test_options_are_numbers_words_tuples_or_json():
    given = ["a=3", "b=0.5", "c=true", "d=word", "e=1,2", "f-g=[[8, 16], [16, 32]]", 'h="1,2"']
    expected = {"a": 3, "b": 0.5, "c": True, "d": "word", "e": (1, 2), "f_g": [[8, 16], [16, 32]], "h": "1,2"}
    assert parse_options(given) == expected
    with pytest.raises(InvalidOption, match="as JSON"):
        parse_options(["f=[[8, 16"])


def test_a_terminal_of_80_columns_shows_how_far_and_how_long_still(tmp_path, archsmith, monkeypatch):
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TTY_COMPATIBLE": "1", "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(_console.errors, "is_interactive", True)
    monkeypatch.setattr(Bars, "update", functools.partialmethod(Bars.update, refresh=True))  # not now and then
    shown = archsmith("search", "--run", str(tmp_path / "r"), *COUNTED, "--budget", "3").err
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert re.search(r"train +\S+ +[1-4]/5 ", shown), shown
    assert re.search(r"search +\S+ +[0-2]/3 +\d+ s left +accuracy_top1", shown), shown
    assert re.search(r"report +\S+ +0/\? +writing report.html", shown), shown


def test_debug_shows_the_traceback(tmp_path, archsmith):
    command = archsmith("search", "--run", tmp_path / "r", "--data", "digit", "--debug")
    assert command.code == 2
    assert "Traceback" in command.err


def test_a_folder_that_is_no_run_is_left_alone(tmp_path, archsmith):
    (tmp_path / "thesis.tex").write_text("years of work")
    command = archsmith("search", "--run", tmp_path, *COUNTED)
    assert command.code == 2
    assert "no run of archsmith" in command.err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_loss_that_is_not_finite_stops_with_the_way_out(tmp_path, archsmith):
    command = archsmith("search", "--run", tmp_path / "r", *COUNTED, "--optimizer", "sgd", "--lr", "1e9")
    assert command.code == 1
    assert "lower lr" in command.err


def test_several_devices_each_with_a_limit_of_its_own(tmp_path, archsmith):
    devices = ["--on", "onnxruntime:batch=8", "--on", "vino=openvino:batch=8"]
    wanted = ["--minimize", "latency_ms@onnxruntime", "--limit", "latency_ms@vino<=90%", "--budget", "4", "--no-export"]
    done = archsmith("search", "--run", tmp_path / "r", *SMALL, *devices, *wanted, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    [limit] = found["limits"]
    assert limit["metric"] == "latency_ms@vino"
    for network in found["front"]:
        assert network["values"]["latency_ms@vino"]["high"] <= limit["bound"]
        assert network["values"]["latency_ms@onnxruntime"]["value"] > 0
    refused = archsmith("search", "--run", tmp_path / "s", *SMALL, *devices)
    assert refused.code == 2
    assert "did you mean 'latency_ms@" in refused.err
