"""``archsmith bench``: strategies compared on a tiny table, as a user gives the commands."""

import json
import os
import signal
import time

import pytest

from archsmith.comparison import ComparisonOutcome
from archsmith.testing.tables import tiny_benchmark

TINY = "archsmith.testing.tables:TinyTable max val_acc min latency_ms"
ONCE = ["bench", "run", "--problems", TINY, "--seeds", 1, "--budget", 5, "--workers", 1]


@pytest.fixture
def table(home):
    """The tiny table, imported into this test's home."""
    (home / "benchmarks").mkdir()
    tiny_benchmark(home / "benchmarks")


def test_bench_alone_shows_its_commands(archsmith):
    shown = archsmith("bench")
    assert all(name in shown.out + shown.err for name in ("import", "list", "run", "report"))


def test_run_reports_and_does_nothing_twice(table, tmp_path, archsmith):
    command = ["bench", "run", "--strategies", "nsga2:population=6@<b>small</b>", "--problems", TINY]
    command += ["--seeds", 2, "--budget", 15, "--workers", 1, "--to", tmp_path / "out"]
    first = archsmith(*command)
    assert first.code == 0, first.err
    assert "bench 4/4" in first.err
    assert "<b>small</b>" in first.out
    assert all((tmp_path / "out" / name).exists() for name in ("summary.json", "report.md", "report.html"))
    again = archsmith(*command, "--json")
    assert "bench" not in again.err  # nothing was left to do
    summary = json.loads(again.out)
    assert {r["strategy"]: r["seeds"] for r in summary["results"]} == {"<b>small</b>": [0, 1], "random": [0, 1]}
    other = archsmith(*command, "--first-seed", 7, "--json")
    assert json.loads(other.out)["results"][0]["seeds"] == [0, 1, 7, 8]
    (tmp_path / "out" / "report.html").unlink()
    assert "random" in archsmith("bench", "report", tmp_path / "out").out
    assert (tmp_path / "out" / "report.html").exists()


def test_what_cannot_take_part_is_said_and_failures_show(table, tmp_path, archsmith, monkeypatch):
    code = """
from archsmith.errors import require
from archsmith.strategy.random import RandomSearch
class Lacks(RandomSearch):
    def __init__(self, *arguments, rng):
        require("no_such_package", extra="moo", purpose="this strategy")
class Breaks(RandomSearch):
    def tell(self, evaluations):
        raise RuntimeError("made to break")
"""
    (tmp_path / "lacking.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)  # what lies in the current folder can be named, as with python -m
    command = [*ONCE, "--to", tmp_path / "out"]
    lacks = archsmith(*command, "--strategies", "lacking:Lacks")
    assert lacks.code == 1
    assert "lacking:Lacks ran on no problem" in lacks.err
    assert "lacking:Lacks is left out: this strategy needs the package 'no_such_package'" in lacks.err
    breaks = archsmith(*command, "--strategies", "lacking:Breaks")
    assert breaks.code == 1
    assert "failed: lacking:Breaks" in breaks.err
    assert "made to break" in breaks.err
    assert "random" in breaks.out


def test_a_table_that_is_missing_leaves_its_problems_out_and_the_exit_code_tells(table, tmp_path, archsmith):
    command = ["bench", "run", "--problems", "macro-flops", "--problems", TINY, "--strategies", "nsga2"]
    command += ["--seeds", 1, "--budget", 5, "--workers", 1, "--to", tmp_path / "out", "--json"]
    ended = archsmith(*command)
    assert ended.code == 1
    assert "macro-flops is left out" in ended.err
    assert "archsmith bench import nasbench_macro --from FOLDER" in ended.err
    assert {r["strategy"] for r in json.loads(ended.out)["results"]} == {"nsga2", "random"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategies", "linus"], "did you mean 'linas'?"),
        (["--strategies", "nsga2:size=2"], "has no option size"),
        (["--strategies", "nsga2:population=1"], "population=1 is not a whole number"),
        (["--strategies", "auto/free=parms"], "did you mean 'params'?"),
        (["--problems", "archsmith.testing.tables:TinyTable max val_acc max val_acc"], "one objective only"),
        (["--problems", "nb201-edgepu"], "did you mean 'nb201-edge"),
        (["--problems", "macro-flops"], "archsmith bench import nasbench_macro --from FOLDER"),
        (["--problems", "archsmith.testing.tables:TinyTable max val_ac"], "did you mean 'val_acc'?"),
        (["--quick"], "archsmith bench import nasbench201 --from FOLDER"),
    ],
)
def test_mistakes_get_one_message(table, tmp_path, archsmith, arguments, message):
    given = [] if "--problems" in arguments or "--quick" in arguments else ["--problems", TINY]
    ended = archsmith("bench", "run", *given, *arguments, "--to", tmp_path)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert not list(tmp_path.iterdir())


def test_a_named_strategy_that_ran_nowhere_is_no_success(table, tmp_path, archsmith):
    command = [*ONCE, "--to", tmp_path / "out"]
    hidden = archsmith(*command, "--strategies", "asng auto/free=val_acc auto/free")  # what is maximised is never told
    assert hidden.code == 1
    assert "asng handles 1 objective" in hidden.err
    assert "asng ran on no problem\nauto/free=val_acc ran on no problem\n" in hidden.err
    assert "auto/free took part" not in hidden.err
    assert "random" in hidden.out
    assert archsmith(*command, "--strategies", "random").code == 0


def test_stopped_before_anything_is_finished(table, tmp_path, archsmith, monkeypatch):
    monkeypatch.setattr("archsmith.comparison.compare", lambda *_, **__: ComparisonOutcome(interrupted=True))
    ended = archsmith("bench", "run", "--problems", TINY, "--to", tmp_path)
    assert ended.code == 130
    assert "the same command goes on" in ended.err


def test_report_of_nothing(tmp_path, archsmith):
    (tmp_path / "a b").mkdir()
    ended = archsmith("bench", "report", tmp_path / "a b")
    assert ended.code == 2
    assert "holds no records of a comparison" in ended.err
    assert f"archsmith bench run --to '{tmp_path / 'a b'}'" in ended.err


def test_list_tells_which_tables_are_here(archsmith):
    found = json.loads(archsmith("bench", "list", "--json").out)
    assert len(found) == 15
    assert not any(p["here"] for p in found)
    assert "archsmith bench import" in found[0]["why_not"]
    shown = archsmith("bench", "list")
    assert "nb201-edgegpu-3" in shown.out
    assert "archsmith bench import nasbench_macro" in shown.err


@pytest.mark.slow
def test_control_c_ends_it_and_the_same_command_goes_on(table, tmp_path, home, start, archsmith):
    command = ["bench", "run", "--strategies", "nsga2", "--problems", TINY, "--budget", "20", "--seeds", "500"]
    command += ["--to", tmp_path, "--workers", "1"]
    process = start(*command, env=os.environ | {"ARCHSMITH_HOME": str(home)})
    deadline = time.monotonic() + 100
    while not list(tmp_path.rglob("[0-9]*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command goes on" in err
    assert "nsga2" in out  # what is finished is reported
    done = len(list(tmp_path.rglob("[0-9]*.json")))
    assert 1 <= done < 1000
    command[command.index("500")] = "1"
    assert archsmith(*command).code == 0
