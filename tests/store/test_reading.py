"""A store that is only read: its folder, or its server, is as it was."""

import os
import shutil
import sqlite3
import struct
import threading
from pathlib import Path

import pytest

from archsmith.errors import DamagedFile, RunLocked, Untrusted, UserError
from archsmith.store import Store, _sqlite
from archsmith.testing.stores import evaluation, proposal
from archsmith.trust import Names, names_of


def filled(path, n=5):
    with Store.open(path) as store:
        journal = store.journal("search")
        with journal.locked():
            journal.begin({"seed": 1})
            for x in range(n):
                journal.ask(1, [proposal(x)])
                journal.tell([evaluation(x)])
    return path


def seen(folder):
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_ino, p.read_bytes()) for p in folder.iterdir()}


def reading(path):
    return Store.open(path, create=False, writable=False)


def test_reading_leaves_the_folder_as_it_was(tmp_path):
    path = filled(tmp_path / "store.db")
    (tmp_path / "store.db.lock").unlink()
    before = seen(tmp_path)
    assert path.read_bytes()[18:20] == b"\x02\x02", "it is written with a log"
    with reading(path) as store:
        assert not store.writable
        assert len(store.evaluations()) == 5
        assert len(store.journal("search").lines) == 10
        assert store.get(evaluation(3).identity) == evaluation(3)
        with pytest.raises(UserError, match="read-only"):
            store.add(evaluation(9))
        with pytest.raises(UserError, match="read-only"), store.journal("search").locked():
            pass
        assert seen(tmp_path) == before
    assert seen(tmp_path) == before


def test_a_reader_beside_a_writer_sees_what_is_committed(tmp_path):
    path = filled(tmp_path / "store.db")
    with Store.open(path) as writer:
        writer.add(evaluation(10))
        names = sorted(p.name for p in tmp_path.iterdir())
        with reading(path) as store:
            assert len(store.evaluations()) == 6, "what stands in the log only"
            writer.add(evaluation(11))
            assert len(store.evaluations()) == 7
        assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_a_file_that_changes_while_it_is_copied_is_copied_again(tmp_path, monkeypatch):
    path = filled(tmp_path / "store.db")
    other = filled(tmp_path / "other.db", 8)
    whole, calls = type(path).read_bytes, []

    def read_bytes(self):
        content = whole(self)
        if self == path and not calls:
            calls.append(1)
            shutil.copy(other, path)
        return content

    monkeypatch.setattr(type(path), "read_bytes", read_bytes)
    with reading(path) as store:
        assert len(store.evaluations()) == 8
    monkeypatch.setattr(_sqlite, "_COPY_ATTEMPTS", 1)
    calls.clear()
    filled(tmp_path / "third.db", 3)
    other = tmp_path / "third.db"
    with pytest.raises(RunLocked, match="changes all the time"):
        reading(path)


def test_threads_may_read_at_once(tmp_path):
    path, found = filled(tmp_path / "store.db"), []
    with reading(path) as store:
        threads = [threading.Thread(target=lambda: found.append(len(store.evaluations()))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [5] * 4


def test_nothing_is_made_where_nothing_is(tmp_path):
    with pytest.raises(UserError, match="there is no store at"):
        Store.open(tmp_path / "new" / "none.db", writable=False)
    (tmp_path / "empty.db").touch()
    with pytest.raises(UserError, match="is empty and opened read-only"):
        reading(tmp_path / "empty.db")
    assert [(p.name, p.stat().st_size) for p in tmp_path.iterdir()] == [("empty.db", 0)]


@pytest.mark.parametrize("writable", [True, False])
def test_only_files_are_opened(tmp_path, writable):
    os.mkfifo(tmp_path / "pipe.db")
    for path in (tmp_path / "pipe.db", "/dev/zero"):
        with pytest.raises(UserError, match="no regular file"):
            Store.open(path, writable=writable)


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("make", [os.symlink, os.link, lambda _, path: os.mkfifo(path)])
def test_a_companion_that_leads_elsewhere_is_refused(tmp_path, end, make):
    """SQLite would write a log over whatever the link names."""
    path, precious = filled(tmp_path / "store.db"), tmp_path / "precious"
    precious.write_text("long" * 5000)
    make(precious, tmp_path / f"store.db{end}")
    for writable in (True, False):
        with pytest.raises(DamagedFile, match=rf"store\.db{end} is no file of store\.db's own"):
            Store.open(path, writable=writable)
    assert precious.read_text() == "long" * 5000


@pytest.mark.parametrize("content", [b"no database" * 999, b"SQLite format 3\0" + b"\xff" * 5000, b"SQ"])
def test_what_is_no_database_is_damage(tmp_path, content):
    path = tmp_path / "store.db"
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match="cannot be read"):
        reading(path)
    assert seen(tmp_path)["store.db"][2] == content


def test_a_large_store_is_read_where_it_lies(tmp_path, monkeypatch):
    path = filled(tmp_path / "store.db")
    monkeypatch.setattr(_sqlite, "LARGEST_COPY", 100)
    with reading(path) as store:
        assert len(store.evaluations()) == 5
        with pytest.raises(UserError, match="read-only"):
            store.add(evaluation(9))


@pytest.mark.postgres
def test_a_server_is_only_read(postgres_url):
    with pytest.raises(UserError, match="is empty and opened read-only"):
        reading(postgres_url)
    with Store.open(postgres_url) as store:
        store.add(evaluation(1))
    with reading(postgres_url) as store:
        assert len(store.evaluations()) == 1
        with pytest.raises(UserError, match="read-only"):
            store.add(evaluation(2))
        with store._database.engine.begin() as connection:
            assert connection.exec_driver_sql("SHOW default_transaction_read_only").scalar_one() == "on"


def test_the_fixture_of_schema_1_can_be_read(tmp_path):
    path = shutil.copy(Path(__file__).parent / "fixtures" / "v1.db", tmp_path)
    before = seen(tmp_path)
    with reading(path) as store:
        assert len(store.journal("search").lines) == 6
    assert seen(tmp_path) == before
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("delete",)


def rollback_journal(path, named):
    """A hot rollback journal over several databases, as SQLite writes it: rolled back, it deletes the file it names."""
    magic, page = bytes.fromhex("d9d505f920a163d7"), 4096
    head = magic + struct.pack(">IIIII", 0, 0, path.stat().st_size // page, 512, page)
    name = str(named).encode()
    tail = struct.pack(">I", 0x40000000 // page + 1) + name + struct.pack(">II", len(name), sum(name)) + magic
    return head.ljust(512, b"\0") + tail


@pytest.mark.parametrize("writable", [True, False])
def test_a_journal_deletes_no_file_that_it_names(tmp_path, writable):
    path, diary = filled(tmp_path / "store.db"), tmp_path / "diary"
    diary.write_text("mine", encoding="utf-8")
    (tmp_path / "store.db-journal").write_bytes(rollback_journal(path, diary))
    content = bytearray(path.read_bytes())
    content[18:20] = b"\x01\x01"  # not written with a log
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match="names a file that SQLite would delete"):
        Store.open(path, create=False, writable=writable)
    assert diary.exists()


def test_views_in_capitals_are_no_tables_either(tmp_path):
    path = filled(tmp_path / "store.db")
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE archsmith_journal RENAME TO kept")
        connection.execute("CREATE VIEW ARCHSMITH_JOURNAL AS SELECT * FROM kept")
    connection.close()
    with pytest.raises(DamagedFile, match="computes something in the view"):
        reading(path)


def test_a_store_with_another_name_elsewhere_is_not_written_for_somebody_else(tmp_path):
    path = filled(tmp_path / "store.db")
    (tmp_path / "other.db").hardlink_to(path)
    with names_of(Names(tmp_path / "run.json", own=False)), pytest.raises(Untrusted, match="another name elsewhere"):
        Store.open(path)
