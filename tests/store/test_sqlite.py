import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from archsmith.errors import DamagedFile, RunLocked, RunMismatch, StorageFull, UserError
from archsmith.store import Store, _schema
from archsmith.testing.stores import StoreConformance, evaluation, failure, proposal

V1 = Path(__file__).parent / "fixtures" / "v1.db"


class TestSqlite(StoreConformance):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: Store.open(tmp_path / "new folder" / "a#b?c%20.db")


def filled(path, n=40):
    """A closed store with n evaluations, so that everything is in the one file."""
    with Store.open(path) as store:
        journal = store.journal("search")
        with journal.locked():
            journal.begin({"seed": 1})
            for x in range(n):
                journal.ask(1, [proposal(x)])
                journal.tell([evaluation(x)])
    return path


def write_v1(path):
    """How the fixture was made; it is never made again, so that it stays what schema 1 wrote."""
    with Store.open(path) as store:
        journal = store.journal("search")
        with journal.locked():
            journal.begin({"strategy": "scripted", "seed": 1}, {"archsmith": "0.1.0"})
            journal.give([proposal(9)])
            journal.tell([evaluation(9)], seconds=0.5)
            journal.ask(3, [proposal(1), proposal(2, note="é"), proposal(3, epochs=2)], seconds=0.25)
            journal.tell([evaluation(1), failure(2)], seconds=1.5)
            journal.note({"archsmith": "0.1.1"})
            journal.restart("the strategy changed")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")


def test_a_store_of_schema_1_still_says_what_it_said(tmp_path):
    path = shutil.copy(V1, tmp_path / "old.db")
    with Store.open(path) as store:
        journal = store.journal("search")
        assert store.journals() == ["search"]
        assert journal.header == {"strategy": "scripted", "seed": 1}
        assert journal.noted == {"archsmith": "0.1.1"}
        assert [line.kind for line in journal.lines] == ["give", "tell", "ask", "tell", "noted", "restart"]
        assert [line.seconds for line in journal.lines] == [0, 0.5, 0.25, 1.5, 0, 0]
        assert journal.lines[2].proposals[2].to_json() == proposal(3, epochs=2).to_json()
        assert [e.to_json() for e in store.evaluations()] == [
            e.to_json() for e in (evaluation(9), evaluation(1), failure(2))
        ]
        store.add(evaluation(4))
        assert len(store.evaluations()) == 4


def test_an_old_store_takes_the_missing_steps_once_and_a_new_one_takes_all(tmp_path, monkeypatch):
    old = shutil.copy(V1, tmp_path / "old.db")
    runs = []

    def second(connection):
        runs.append(1)
        connection.exec_driver_sql("ALTER TABLE archsmith_runs ADD COLUMN comment TEXT")

    monkeypatch.setattr(_schema, "STEPS", (*_schema.STEPS, second))
    for path in (old, old, tmp_path / "new.db"):
        Store.open(path).close()
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT value FROM archsmith_meta").fetchall() == [("2",)]
            assert "comment" in [row[1] for row in connection.execute("PRAGMA table_info(archsmith_runs)")]
    assert len(runs) == 2


def test_a_failing_step_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    old = shutil.copy(V1, tmp_path / "old.db")

    def broken(connection):
        connection.exec_driver_sql("ALTER TABLE archsmith_runs ADD COLUMN comment TEXT")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_schema, "STEPS", (*_schema.STEPS, broken))
        with pytest.raises(KeyboardInterrupt):
            Store.open(old)
    with Store.open(old) as store:
        assert len(store.evaluations()) == 3


def test_a_newer_schema_is_refused(tmp_path):
    path = shutil.copy(V1, tmp_path / "newer.db")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE archsmith_meta SET value = '7'")
    with pytest.raises(RunMismatch, match=r"newer archsmith \(schema 7; this one reads up to 1\): pip install -U"):
        Store.open(path)


@pytest.mark.parametrize("content", [b"not a database at all\n" * 300, b"SQLite format 3\0" + b"\xff" * 5000])
def test_something_else_is_no_store_and_stays_as_it_is(tmp_path, content):
    path = tmp_path / "store.db"
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"store\.db cannot be read .* restore it from a copy"):
        Store.open(path)
    assert path.read_bytes() == content


def test_the_database_of_somebody_else_is_not_touched(tmp_path):
    path = tmp_path / "photos.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE photos (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(DamagedFile, match="not a store of archsmith"):
        Store.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_store_is_damaged(tmp_path, share):
    path = filled(tmp_path / "store.db")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DamagedFile, match="restore it from a copy"):
        Store.open(path)


def test_a_hole_in_the_middle_is_found_at_once(tmp_path):
    path = filled(tmp_path / "store.db")
    content = bytearray(path.read_bytes())
    content[4096 * 6 : 4096 * 7] = b"\x5a" * 4096
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"store\.db cannot be read"):
        Store.open(path)


def test_a_lost_version_and_a_broken_record_are_damage(tmp_path):
    path = filled(tmp_path / "store.db", 2)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE archsmith_journal SET body = '{\"evaluations\": [99]}' WHERE number = 3")
    with Store.open(path) as store, pytest.raises(DamagedFile, match=r"line 3 of run 'search'"):
        _ = store.journal("search").lines
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE archsmith_evaluations SET record = '{' WHERE id = 1")
    with Store.open(path) as store, pytest.raises(DamagedFile, match=r"evaluation 1 in .* is damaged"):
        store.evaluations()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM archsmith_meta")
    with pytest.raises(DamagedFile, match="schema version"):
        Store.open(path)


def test_what_is_missing_is_only_made_when_wanted(tmp_path):
    with pytest.raises(UserError, match="there is no store"):
        Store.open(tmp_path / "none.db", create=False)
    with pytest.raises(UserError, match="is a folder"):
        Store.open(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot open"):
        Store.open(tmp_path / "file" / "store.db")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


# --- read-only


@pytest.fixture
def shelf():
    """A folder that any user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def as_ordinary_user():
    """Root may write anywhere, so it becomes nobody for a while."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def refuse_writing(store):
    assert not store.writable
    with pytest.raises(UserError, match="read-only; make the file and its folder writable"):
        store.add(evaluation(99))
    with pytest.raises(UserError, match="read-only"), store.journal("search").locked():
        pass


def test_a_read_only_folder_can_be_read(shelf):
    path = filled(shelf / "store.db")
    path.chmod(0o444)
    shelf.chmod(0o555)
    with as_ordinary_user(), Store.open(path, create=False) as store:
        assert len(store.evaluations()) == 40
        assert len(store.journal("search").lines) == 80
        refuse_writing(store)
    assert sorted(p.name for p in shelf.iterdir()) == ["store.db", "store.db.lock"]


def test_a_read_only_file_in_a_writable_folder_can_be_read(shelf):
    path = filled(shelf / "store.db")
    path.chmod(0o444)
    shelf.chmod(0o777)
    with as_ordinary_user(), Store.open(path) as store:
        assert len(store.evaluations()) == 40
        refuse_writing(store)


def test_a_killed_run_in_a_read_only_folder_is_read_to_its_end(shelf):
    """What was committed last lies in the write-ahead log, which a careless reader would pass over."""
    path = shelf / "store.db"
    with Store.open(path) as store:
        store.add(evaluation(1))
        for name in ("store.db", "store.db-wal", "store.db-shm"):
            shutil.copy(shelf / name, shelf / f"left-{name}")
    (shelf / "store.db").unlink()
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        (shelf / f"left-{name}").rename(shelf / name).chmod(0o444)
    shelf.chmod(0o555)
    with as_ordinary_user(), Store.open(path) as store:
        assert [e.architecture["x"] for e in store.evaluations()] == [1]
        refuse_writing(store)
    shelf.chmod(0o755)
    (shelf / "store.db-shm").unlink()
    shelf.chmod(0o555)
    with as_ordinary_user(), pytest.raises(DamagedFile, match=r"copy store\.db and store\.db-wal to a folder"):
        Store.open(path)


def test_nothing_can_be_begun_in_a_read_only_folder(shelf):
    (shelf / "empty.db").touch()
    shelf.chmod(0o555)
    with as_ordinary_user():
        with pytest.raises(UserError, match=r"cannot open|read-only"):
            Store.open(shelf / "new.db")
        with pytest.raises(UserError, match="is empty and opened read-only"):
            Store.open(shelf / "empty.db")


# --- a full disk


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of one MiB where we may mount one; else SQLite's own limit stands in for it."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = os.getuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    yield folder, mounted
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_loses_nothing(small_disk):
    folder, mounted = small_disk
    written = []
    with Store.open(folder / "store.db") as store:
        if not mounted:
            with store._database.engine.begin() as connection:
                connection.exec_driver_sql("PRAGMA max_page_count=40")
        journal = store.journal("search")

        def fill():
            with journal.locked():
                journal.begin({})
                for x in range(2000):
                    journal.tell([evaluation(x)])
                    written.append(x)

        with pytest.raises(StorageFull, match="everything committed before is intact: free some space"):
            fill()
        assert 10 < len(written) < 2000
        assert [e.architecture["x"] for e in store.evaluations()] == written
    with Store.open(folder / "store.db") as store:
        assert [e.architecture["x"] for e in store.journal("search").evaluations] == written


def test_a_disk_that_is_full_from_the_start(small_disk, monkeypatch):
    folder, mounted = small_disk
    if mounted:
        with pytest.raises(OSError, match="No space"):
            (folder / "filler").write_bytes(b"x" * 2**21)
    else:
        limit = lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=2")
        monkeypatch.setattr(_schema, "STEPS", (limit, *_schema.STEPS))
    with pytest.raises(StorageFull, match="no space left for"):
        Store.open(folder / "store.db")


def test_a_disk_without_room_for_the_lock(tmp_path, monkeypatch):
    def pwrite(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Store.open(tmp_path / "store.db") as store:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", pwrite)
            with pytest.raises(StorageFull), store.journal("search").locked():
                pass
        with store.journal("search").locked():
            pass


# --- locks

HOLD = """
import sys, time
from archsmith.store import Store
store = Store.open(sys.argv[1])
with store.journal("search").locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_names_its_holder_and_dies_with_it(tmp_path):
    path = tmp_path / "store.db"
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout.readline() == "held\n"
        with Store.open(path) as store:
            with (
                pytest.raises(RunLocked, match=rf"process {child.pid} on {os.uname().nodename}"),
                store.journal("search").locked(),
            ):
                pass
            store.add(evaluation(1))  # adding an evaluation is no matter of runs
            child.send_signal(signal.SIGKILL)
            child.wait()
            with store.journal("search").locked():
                assert (tmp_path / "store.db.lock").read_text().startswith(f"{os.getpid()} ")


@pytest.mark.parametrize("make", [os.symlink, os.link, lambda _, lock: os.mkfifo(lock), lambda _, lock: lock.mkdir()])
def test_a_lock_that_is_no_file_of_its_own_is_refused_and_nothing_is_written(tmp_path, make):
    precious = tmp_path / "precious"
    precious.write_text("a long text that must stay")
    make(precious, tmp_path / "store.db.lock")
    with (
        Store.open(tmp_path / "store.db") as store,
        pytest.raises(UserError, match=r"lock is no regular file.*remove it"),
    ):
        store.journal("search").locked().__enter__()
    assert precious.read_text() == "a long text that must stay"


def test_a_store_that_stays_busy_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("archsmith.store._sqlite.BUSY_S", 0.1)
    path = filled(tmp_path / "store.db", 1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Store.open(path) as store:
        start = time.monotonic()
        with pytest.raises(RunLocked, match="busy"):
            store.add(evaluation(5))
        assert time.monotonic() - start < 30
        assert len(store.evaluations()) == 1, "readers are not in the way of a writer"
    other.execute("ROLLBACK")
    other.close()


def test_commits_are_synchronous_and_logged_ahead(tmp_path):
    with Store.open(tmp_path / "store.db") as store, store._database.engine.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
