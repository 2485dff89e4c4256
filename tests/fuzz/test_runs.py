"""Damaged and hostile files of a run: every command says what is wrong with them, none calls it a bug of its own."""

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from archsmith.testing.mutations import mutants

RUN = Path(__file__).parent.parent / "fixtures" / "runs" / "finished"
QUICK, ALL = 3, 48
"""Mutants of each document in the everyday suite, and in the slow one."""
ROWS = {"archsmith_runs": "header", "archsmith_journal": "body", "archsmith_evaluations": "record"}


@pytest.fixture
def run(tmp_path):
    """With one exported network; an agent and data that nobody trusts, so that nothing is measured or judged."""
    run = shutil.copytree(RUN, tmp_path / "run")
    for other in (run / "exports").glob("*"):
        if not other.name.startswith(network(run).name.partition(".")[0]):
            other.unlink()
    [certificate] = run.glob("exports/*.certificate.json")
    proof = json.loads(certificate.read_text(encoding="utf-8"))
    proof["device"]["spec"], proof["export"]["data"]["spec"] = "remote:127.0.0.1:1", "somebody:data"
    certificate.write_text(json.dumps(proof), encoding="utf-8")
    return run


@pytest.fixture
def command(archsmith):
    """Gives a command in this process; a bug of archsmith's, or a control character on the terminal, fails the test."""

    def give(*arguments):
        ended = archsmith(*arguments)
        shown = ended.out + ended.err
        assert "this is a bug" not in shown, f"{arguments}: {shown}"
        assert ended.code in (0, 1, 2), shown
        assert not any(ord(c) < 32 and c not in "\n\t" for c in shown), f"{arguments}: {shown!r}"
        return ended.code

    return give


def network(run):
    return sorted((run / "exports").glob("*.onnx"))[0]


def look(run, command):
    """What reads all of a run's own files; nothing is measured."""
    if command("show", run) == 0:
        command("show", run, "--json")
        command("report", run)


def verify(run, command):
    """Checks the exported network."""
    command("verify", network(run), "--json")


DOCUMENTS = {
    "run.json": look,
    "state.json": look,
    "front.json": look,
    "exports/*.certificate.json": verify,
    "exports/*.architecture.json": verify,
}


def check_document(run, command, pattern, n, seed=0):
    file = sorted(run.glob(pattern))[0]
    whole = json.loads(file.read_text(encoding="utf-8"))
    for mutant in mutants(whole, np.random.default_rng([seed, n]), n):
        file.write_text(dumped(mutant), encoding="utf-8", errors="surrogatepass")
        DOCUMENTS[pattern](run, command)


def dumped(mutant):
    try:
        return json.dumps(mutant)
    except RecursionError:
        return "[" * 100_000


def check_rows(run, command, table, n, seed=0):
    store, column = run / "store.db", ROWS[table]
    whole = store.read_bytes()
    with sqlite3.connect(store) as connection:
        rows = connection.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
    rng = np.random.default_rng([seed, n, len(table)])
    for _ in range(n):
        number, text = rows[rng.integers(len(rows))]
        [mutant] = mutants(json.loads(text), rng, 1)
        store.write_bytes(whole)
        with sqlite3.connect(store) as connection:
            text = dumped(mutant).encode("utf-8", "replace").decode()
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (text, number))
        connection.close()
        look(run, command)


@pytest.mark.parametrize("pattern", DOCUMENTS)
def test_documents(run, command, pattern):
    check_document(run, command, pattern, QUICK)


@pytest.mark.parametrize("table", ROWS)
def test_rows(run, command, table):
    check_rows(run, command, table, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 3))
@pytest.mark.parametrize("pattern", DOCUMENTS)
def test_many_documents(run, command, pattern, seed):
    check_document(run, command, pattern, ALL, seed)


@pytest.mark.slow
@pytest.mark.parametrize("table", ROWS)
def test_many_rows(run, command, table):
    check_rows(run, command, table, ALL, seed=1)


NONSENSE = ["", "null", "[]", '"²"', "{", "[" * 100_000, "\x00", "\ufeff{}", '{"format": 1e400}', "9" * 5000]


@pytest.mark.parametrize("pattern", DOCUMENTS)
def test_what_is_no_json(run, command, pattern):
    file = sorted(run.glob(pattern))[0]
    for text in NONSENSE:
        file.write_text(text, encoding="utf-8")
        command(*(["show", run] if DOCUMENTS[pattern] is look else ["verify", network(run)]))
