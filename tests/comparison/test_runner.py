"""Comparisons: nothing depends on the order or the processes, nothing is done twice, trouble is told and survived."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from archsmith.comparison import compare, parse_entries, parse_entry, parse_problems, search_table, summarise
from archsmith.comparison._sources import code_digest
from archsmith.comparison.record import read_record, read_records, record_path
from archsmith.errors import ArchsmithError, DamagedFile, InvalidOption, MissingTable, RunMismatch, Untrusted, UserError

OWN = """
import os
from archsmith.errors import MissingExtra
from archsmith.strategy.evolution.nsga2 import Nsga2
from archsmith.strategy.random import RandomSearch as Random

class Breaks(Random):
    def tell(self, evaluations):
        raise ZeroDivisionError("made to break")

class Lacks(Random):
    def ask(self, n):
        raise MissingExtra("this needs the package 'nothing'")

class Repeats(Random):
    def ask(self, n):
        self.first = getattr(self, "first", None) or super().ask(1)
        return self.first

class Mute(Random):
    def ask(self, n):
        return []

class Stops(Random):
    def ask(self, n):
        return super().ask(n) if len(self._history.told) < 5 else []

class One(Nsga2):
    handles = Nsga2.handles.__class__(objectives=1)

class Dies(Random):
    def ask(self, n):
        os._exit(1)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Strategies of a user's own, importable here and in processes that are started."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "own_strategies.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    return lambda name, rest="": parse_entry(f"own_strategies:{name}{rest}")


def found(folder):
    """What every search found, without its times."""
    return {(r.problem, r.label, r.seed): (r.positions, r.ended) for r in read_records(folder)}


def test_neither_order_nor_company_nor_processes_matter(tiny, tmp_path):
    entries = parse_entries(["nsga2:population=6"])
    compare(entries, tiny, range(2), tmp_path / "here")
    compare(entries[::-1], tiny[::-1], (1, 0), tmp_path / "there", workers=2)
    here = found(tmp_path / "here")
    assert len(here) == 2 * 2 * 2
    assert here == found(tmp_path / "there")
    alone = search_table(entries[0], tiny[0], 1)
    assert here[tiny[0].name, entries[0].label, 1] == (alone.positions, alone.ended)
    assert len({positions for positions, _ in here.values()}) > 4  # seeds and problems differ


def test_what_is_there_is_kept_and_what_lacks_is_done(tiny, tmp_path):
    entries = parse_entries(["nsga2:population=6"])
    steps = []
    first = compare(entries, tiny[:1], range(2), tmp_path, on_step=steps.append)
    assert (first.made, first.kept, first.notes) == (4, 0, [])
    assert [s.done for s in steps] == [1, 2, 3, 4]
    assert [s.total for s in steps] == [4] * 4
    assert steps[-1].remaining_s == 0
    again = compare(entries, tiny, range(3), tmp_path)
    assert (again.made, again.kept) == (8, 4)
    shorter = compare(entries, [replace(p, budget=7) for p in tiny], range(3), tmp_path)
    assert (shorter.made, shorter.kept) == (0, 12)
    path = record_path(tmp_path, tiny[0].name, "random", 1)
    before = read_record(path)
    longer = compare(entries, [replace(tiny[0], budget=30)], [1], tmp_path)
    assert longer.made == 2
    assert "another budget" in longer.notes[0]
    assert read_record(path).positions[:20] == before.positions  # no strategy knows the budget
    path.write_text(path.read_text(encoding="utf-8")[:50], encoding="utf-8")
    mended = compare(entries, tiny[:1], [1], tmp_path)
    assert mended.made == 1
    assert "cannot be read" in mended.notes[0]


def test_other_code_is_another_experiment(tiny, tmp_path):
    entries = parse_entries(["random"])
    compare(entries, tiny[:1], [0], tmp_path)
    path = record_path(tmp_path, tiny[0].name, "random", 0)
    old = json.loads(path.read_text(encoding="utf-8")) | {"code": "0" * 16}
    path.write_text(json.dumps(old), encoding="utf-8")
    assert compare(entries, tiny[:1], [0], tmp_path, any_code=True).kept == 1
    outcome = compare(entries, tiny[:1], [0], tmp_path)
    assert outcome.made == 1
    assert "another code" in outcome.notes[0]
    path.write_text(json.dumps(old | {"table": "another"}), encoding="utf-8")
    with pytest.raises(RunMismatch, match="another version of the table"):
        summarise(tmp_path, date="2026-01-31", trust=True)


def test_the_digest_is_of_a_strategys_own_code():
    digests = [
        code_digest("linas"),
        code_digest("linas", ("random_forest",)),
        code_digest("nsga2"),
        code_digest("random"),
    ]
    assert len(set(digests)) == 4
    assert digests[0] == code_digest("linas", ("gaussian_process",))  # its default, found in the source


def test_trouble_with_one_strategy_is_told_and_the_others_go_on(tiny, tmp_path, own):
    entries = [own("Breaks", "@breaks"), own("Lacks", "@lacks"), own("One", "@one"), *parse_entries([])[-1:]]
    outcome = compare(entries, tiny, range(2), tmp_path)
    assert outcome.made == 2 * 2 + 2  # random on both, one on the single objective
    assert len(outcome.failures) == 4
    assert "breaks on" in outcome.failures[0]
    assert "ZeroDivisionError: made to break (own_strategies.py, line 9)" in outcome.failures[0]
    assert outcome.notes == [
        f"one handles 1 objective, {tiny[0].name} has more",
        "lacks is left out: this needs the package 'nothing'",
    ]
    assert compare(entries[:1], tiny[:1], [0], tmp_path).failures  # it is tried again


def test_problems_without_their_table_are_left_out(tiny, tmp_path):
    absent = parse_problems(["macro-flops graph-cora"], budget=20)
    outcome = compare(parse_entries(["nsga2"]), [absent[0], *tiny, absent[1]], [0], tmp_path)
    assert outcome.made == 4
    assert [text.split(" is left out")[0] for text in outcome.missing] == ["macro-flops", "graph-cora"]
    assert {r.problem for r in read_records(tmp_path)} == {p.name for p in tiny}
    with pytest.raises(MissingTable, match="archsmith bench import nasbench_macro"):
        compare(parse_entries(["nsga2"]), absent, [0], tmp_path)


def test_a_strategy_that_proposes_nothing_has_no_record(tiny, tmp_path, own):
    outcome = compare([own("Mute", "@mute"), parse_entry("random")], tiny[:1], [0], tmp_path)
    assert (outcome.made, len(outcome.failures)) == (1, 1)
    assert "mute proposed nothing" in outcome.failures[0]
    assert [r["strategy"] for r in summarise(tmp_path, date="2026-01-31", trust=True)["results"]] == ["random"]


def test_searches_that_used_the_space_up_do_not_shorten_the_others(tiny, tmp_path):
    random = [parse_entry("random")]
    compare(random, [replace(tiny[0], budget=60)], [0], tmp_path)
    outcome = compare(random, [replace(tiny[0], budget=90)], [0, 1], tmp_path)
    assert (outcome.kept, outcome.made) == (1, 1)  # of 48 architectures nothing is left
    [result] = summarise(tmp_path, date="2026-01-31", trust=True)["results"]
    assert (result["budget"], result["ended_early"], result["hypervolume"]["low"]) == (90, 2, 1.0)


def test_options_are_refused_before_anything_runs(tiny, tmp_path):
    with pytest.raises(InvalidOption, match="population=1 is not a whole number from 2"):
        compare(parse_entries(["nsga2:population=1"]), tiny, [0], tmp_path)
    with pytest.raises(InvalidOption, match="needs a strategy, a problem and a seed"):
        compare(parse_entries([]), tiny, [], tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_searches_that_end_before_their_budget(tiny, own):
    assert search_table(own("Stops"), tiny[0], 0).ended == "finished"
    assert len(search_table(own("Stops"), tiny[0], 0).positions) == 5
    repeated = search_table(own("Repeats"), tiny[0], 0)
    assert (repeated.ended, len(repeated.positions)) == ("known", 1)
    everything = search_table(parse_entry("random"), tiny[0], 0, budget=99)
    assert everything.ended == "finished"
    assert sorted(everything.positions) == list(range(48))
    batched = search_table(parse_entry("random/batch=7"), tiny[0], 0)
    assert len(batched.positions) == len(batched.cpu_ms) == 20


def test_a_wish_to_stop_leaves_what_is_finished(tiny, tmp_path):
    entries = parse_entries(["nsga2:population=6"])
    steps = []
    outcome = compare(entries, tiny, range(2), tmp_path, on_step=steps.append, stop=lambda: len(steps) >= 3)
    assert outcome.interrupted
    assert outcome.made == len(found(tmp_path)) == 3
    assert compare(entries, tiny, range(2), tmp_path).kept == 3


def test_a_worker_that_dies_is_told_and_leaves_the_environment_alone(tiny, tmp_path, own, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    before = dict(os.environ)
    with pytest.raises(ArchsmithError, match="a worker process died"):
        compare([own("Dies")], tiny[:1], [0], tmp_path, workers=1)
    assert dict(os.environ) == before


def test_a_comparison_that_is_killed_goes_on(tiny, tmp_path, home):
    names = [f"{p.benchmark} {' '.join(map(str, p.objectives))}" for p in tiny]
    code = (
        "import sys; from pathlib import Path; from archsmith.comparison import *\n"
        f"compare(parse_entries(['nsga2']), parse_problems({names!r}, 20), range(400), Path({str(tmp_path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"ARCHSMITH_HOME": str(home)})
    deadline = time.monotonic() + 60
    while len(list(tmp_path.rglob("[0-9]*.json"))) < 6 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(read_records(tmp_path)))  # every file is whole
    assert done >= 6
    outcome = compare(parse_entries(["nsga2"]), tiny, range(2), tmp_path)
    assert outcome.kept >= 6
    assert outcome.made + outcome.kept == 8


def test_records_of_another_kind(tmp_path, tiny):
    with pytest.raises(UserError, match="holds no records of a comparison"):
        list(read_records(tmp_path))
    for text, message in (("[]", "not the record"), ('{"format": 9}', "format is 9"), ("{", "cannot be read")):
        (tmp_path / "1.json").write_text(text, encoding="utf-8")
        with pytest.raises(DamagedFile, match=message):
            read_record(tmp_path / "1.json")


def test_labels_are_file_names_that_no_two_share(tmp_path):
    labels = ["a/b", "a b", "a-b", "../a", "linas:picks=2,predictor=ridge", "x" * 90 + "/"]
    paths = {record_path(tmp_path, "p", label, 0) for label in labels}
    assert len(paths) == len(labels)
    assert all(p.parent.parent == tmp_path / "records" / "p" and len(p.parent.name) < 80 for p in paths)


EVIL = """
from pathlib import Path
Path("imported").touch()
from archsmith.testing.tables import TinyTable
class Table(TinyTable):
    pass
"""


@pytest.mark.parametrize("trust", [False, (), ("other:Table",)])
def test_records_of_others_import_nothing(tiny, tmp_path, monkeypatch, trust):
    """Nor does their folder, which may be the current one."""
    compare(parse_entries(["random"]), tiny[:1], range(1), tmp_path)
    monkeypatch.chdir(tmp_path)
    [record] = (tmp_path / "records").rglob("*.json")
    Path("theirs.py").write_text(EVIL)
    record.write_text(record.read_text().replace(tiny[0].benchmark, "theirs:Table"))
    with pytest.raises(Untrusted, match=r"would import theirs:Table.*--trust"):
        summarise(tmp_path, date="2026-01-31", trust=trust)
    assert not Path("imported").exists()


@pytest.mark.parametrize("trust", [True, ("archsmith.testing.tables:TinyTable",)])
def test_records_are_followed_where_the_user_trusts_or_names_them(tiny, tmp_path, trust):
    compare(parse_entries(["random"]), tiny[:1], range(1), tmp_path)
    assert summarise(tmp_path, date="2026-01-31", trust=trust)["results"]
