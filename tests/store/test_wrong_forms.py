"""A store that somebody else wrote: valid SQLite, valid JSON, and yet nothing that archsmith understands."""

import json
import shutil
import sqlite3
from contextlib import closing

import pytest

from archsmith.errors import DamagedFile
from archsmith.store import Store, _forms, _sqlite
from archsmith.testing.stores import evaluation, proposal

HUGE = 10**400
DEEP = "[" * 5000 + "]" * 5000


@pytest.fixture(scope="module")
def loose(tmp_path_factory):
    """A store whose columns take anything, as a database of somebody else may."""
    path = tmp_path_factory.mktemp("loose") / "store.db"
    with Store.open(path) as store:
        journal = store.journal("search")
        with journal.locked():
            journal.begin({"seed": 1}, {"numpy": "2"})
            journal.give([proposal(0)])
            journal.ask(1, [proposal(1, epochs=3)])
            journal.tell([evaluation(1, epochs=3)])
            journal.restart("why not")
            journal.note({"numpy": "3"})
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=DELETE")
    for table in ("meta", "evaluations", "runs", "journal"):
        db.execute(f"CREATE TABLE x AS SELECT * FROM archsmith_{table}")
        names = ", ".join(row[1] for row in db.execute("PRAGMA table_info(x)"))
        db.execute(f"DROP TABLE archsmith_{table}")
        db.execute(f"CREATE TABLE archsmith_{table} ({names})")  # without types, keys and rules
        db.execute(f"INSERT INTO archsmith_{table} SELECT * FROM x")
        db.execute("DROP TABLE x")
    db.commit()
    db.close()
    return path


@pytest.fixture
def tampered(loose, tmp_path):
    """``tampered(statement, *values)``: a copy of that store after one more statement."""

    def change(statement, *values):
        shutil.copy(loose, path)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous=OFF")
            db.execute(statement, values)
        return path

    path = tmp_path / "store.db"
    return change


def refused(path, *, match="restore"):
    """Only read, so that many cases are quick; what is written later stands on what was read."""
    with pytest.raises(DamagedFile, match=match):
        read_everything(path, writable=False)


def read_everything(path, *, writable):
    with Store.open(path, create=False, writable=writable) as store:
        store.journals()
        journal = store.journal("search")
        assert journal.header is not None
        assert journal.noted
        assert journal.lines
        store.get(evaluation(1, epochs=3).identity)
        store.evaluations()
        journal.known([evaluation(1, epochs=3).identity])
        if writable:
            with journal.locked():
                journal.ask(1, [])


def test_a_loose_store_is_read_as_it_is(loose, tmp_path):
    path = shutil.copy(loose, tmp_path)
    for writable in (False, True):
        read_everything(path, writable=writable)


RECORD = evaluation(1, epochs=3).to_json()


def changed(**changes):
    """The record with one field, named by its path, replaced; ``...`` takes it away."""
    data = json.loads(json.dumps(RECORD))
    for path, value in changes.items():
        *way, last = path.split("__")
        inner = data
        for step in way:
            inner = inner[step]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    return json.dumps(data)


ANYTHING = [None, 7, 1.5, b"\xff", "", "{", "null", "[]", "{}", "7", '"text"', DEEP, "9" * 5000]
RECORDS = [
    *(changed(**{name: wrong}) for name in RECORD for wrong in (..., 3.5, [[]])),
    changed(values={}),
    changed(values__cost__value=float("nan")),
    changed(values__cost__value=HUGE),
    changed(values__cost__value=True),
    changed(values__cost__low=100.0),
    changed(values__cost__source=["measured"]),
    changed(values__cost__source="guessed"),
    changed(status="failed", reason=""),
    changed(status="odd"),
    changed(seed=HUGE),
    changed(seed=5),
    changed(proposal__architecture__choices=[["x", 2]]),
    changed(proposal__architecture__choices=[["x", "\ud800"]]),
    changed(proposal__architecture__choices=[["x", {}]]),
    changed(proposal__architecture__choices=[[[], 1]]),
    changed(proposal__architecture__choices=[["x", 1, 2]]),
    changed(proposal__architecture__space=None),
    changed(proposal__fidelity={"epochs": []}),
    changed(proposal__fidelity={"epochs": 3.5}),
    changed(proposal__parent=7),
    changed(cost={"wall_s": "long"}),
]


@pytest.mark.parametrize("record", [*ANYTHING, *RECORDS])
def test_evaluations_of_another_form(record):
    identity = evaluation(1, epochs=3).identity
    assert _forms.evaluation(json.dumps(RECORD), identity=identity, what="a row") == evaluation(1, epochs=3)
    with pytest.raises(DamagedFile, match="a row is damaged"):
        _forms.evaluation(record, identity=identity, what="a row")


@pytest.mark.parametrize("record", [None, "null", changed(seed=5)])
def test_a_store_with_evaluations_of_another_form(tampered, record):
    refused(tampered("UPDATE archsmith_evaluations SET record = ?", record))


def test_what_else_a_record_says_is_passed_over(tampered):
    read_everything(tampered("UPDATE archsmith_evaluations SET record = ?", changed(more=1)), writable=True)


BODIES = {
    0: [{"proposals": None}, {"proposals": [None]}, {"proposals": [{}]}],
    1: [{"n": -1, "proposals": []}, {"n": 10**9, "proposals": []}, {"n": HUGE, "proposals": []}, {"n": "1"}],
    2: [
        {"evaluations": [99], "new": 0},
        {"evaluations": [HUGE], "new": 0},
        {"evaluations": [0], "new": 0},
        {"evaluations": ["1"], "new": 0},
        {"evaluations": 1, "new": 1},
        {"evaluations": [1], "new": 2},
        {"evaluations": [1], "new": -1},
        {"evaluations": [1]},
    ],
    3: [{"reason": None}, {}],
    4: [{"noted": None}, {"noted": []}, {}],
}


KINDS = ("give", "ask", "tell", "restart", "noted")


@pytest.mark.parametrize("kind", KINDS)
def test_lines_of_another_form(kind):
    for wrong in ANYTHING:
        with pytest.raises(DamagedFile, match="a line is damaged"):
            _forms.read(wrong, _forms.BODIES[kind], what="a line")


@pytest.mark.parametrize(("number", "body"), [(n, body) for n, bodies in BODIES.items() for body in bodies])
def test_a_store_with_lines_of_another_form(tampered, number, body):
    body = json.dumps(body)
    path = tampered("UPDATE archsmith_journal SET body = ? WHERE number = ?", body, number)
    refused(path, match=f"line {number} of run 'search'.*restore")


@pytest.mark.parametrize("header", [None, "null", '{"header":null,"noted":{}}', '{"header":{}}', DEEP])
def test_headers_of_another_form(tampered, header):
    refused(tampered("UPDATE archsmith_runs SET header = ?", header))


@pytest.mark.parametrize("version", [None, 1, b"1", "", "²", "٣", "-1", "0", "1.0", "1 ", "9" * 5000])
def test_schema_versions_of_another_form(tampered, version):
    refused(tampered("UPDATE archsmith_meta SET value = ?", version), match="lost its schema version")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE archsmith_journal SET number = 2 WHERE number = 1",
        "UPDATE archsmith_journal SET number = 9223372036854775807 WHERE number = 4",
        "UPDATE archsmith_journal SET number = NULL WHERE number = 4",
        "UPDATE archsmith_journal SET number = 'four' WHERE number = 4",
        "UPDATE archsmith_journal SET number = 1.5 WHERE number = 1",
        "DELETE FROM archsmith_journal WHERE number = 1",
        "UPDATE archsmith_journal SET seconds = 'long'",
        "UPDATE archsmith_journal SET seconds = NULL",
        "UPDATE archsmith_journal SET seconds = 9e999",
        "UPDATE archsmith_journal SET seconds = -1",
        "UPDATE archsmith_journal SET kind = 'other'",
        "UPDATE archsmith_journal SET kind = NULL",
        "UPDATE archsmith_journal SET kind = x'ff'",
        "UPDATE archsmith_journal SET kind = CAST(x'ff' AS TEXT)",
        "UPDATE archsmith_evaluations SET record = CAST(x'ff' AS TEXT)",
        "UPDATE archsmith_evaluations SET id = 'one'",
        "UPDATE archsmith_evaluations SET id = NULL",
        "INSERT INTO archsmith_runs SELECT NULL, NULL, header FROM archsmith_runs",
        "INSERT INTO archsmith_runs SELECT 2, x'00', header FROM archsmith_runs",
        "INSERT INTO archsmith_runs SELECT 2, 7, header FROM archsmith_runs",
        "INSERT INTO archsmith_runs SELECT 2, 'search', header FROM archsmith_runs",
        "UPDATE archsmith_runs SET name = NULL",
        "ALTER TABLE archsmith_journal DROP COLUMN body",
        "DROP TABLE archsmith_evaluations",
    ],
)
def test_odd_rows(tampered, statement):
    refused(tampered(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON archsmith_journal BEGIN DELETE FROM archsmith_evaluations; END",
        "CREATE VIEW archsmith_locks AS SELECT 1 AS name",
        "CREATE VIRTUAL TABLE archsmith_locks USING fts5(name, host)",
        "CREATE TABLE archsmith_locks (name, host TEXT AS (printf('%.*c', 1000000000, 'x')))",
        "CREATE TABLE archsmith_locks (name, host CHECK (printf('%.*c', 1000000000, 'x') != name))",
        "CREATE INDEX i ON archsmith_journal (upper(body))",
        "CREATE INDEX i ON archsmith_journal (body) WHERE upper(body) != ''",
    ],
)
@pytest.mark.parametrize("writable", [True, False])
def test_tables_that_compute(tampered, statement, writable):
    """Triggers write when we write, and expressions may take for ever."""
    path = tampered("DROP TABLE archsmith_locks")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(statement)
    with pytest.raises(DamagedFile, match=r"computes something in the .* restore it from a copy"):
        read_everything(path, writable=writable)


def test_a_column_larger_than_anything_that_archsmith_writes(tampered, monkeypatch):
    monkeypatch.setattr(_sqlite, "LARGEST_JSON", 10**6)
    refused(tampered("UPDATE archsmith_evaluations SET record = zeroblob(2000000)"))
