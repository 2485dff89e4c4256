import os
import signal
import subprocess
import sys

import pytest
from sqlalchemy import text

from archsmith.errors import MissingExtra, RunLocked, RunMismatch, UserError
from archsmith.store import Store, _schema
from archsmith.testing.stores import StoreConformance, evaluation


@pytest.fixture
def url(postgres_url):
    return postgres_url


@pytest.mark.postgres
class TestPostgres(StoreConformance):
    @pytest.fixture
    def open_store(self, url):
        return lambda: Store.open(url)


@pytest.mark.postgres
def test_two_runs_may_be_written_at_once(url):
    with Store.open(url) as one, Store.open(url) as two:
        with one.journal("a").locked(), two.journal("b").locked():
            a, b = one.journal("a"), two.journal("b")
            with a.locked(), b.locked():
                a.begin({})
                b.begin({})
                for x in range(5):
                    assert a.tell([evaluation(x)]).new == 1
                    assert b.tell([evaluation(x)]).new == 0
        assert len(one.evaluations()) == 5


@pytest.mark.postgres
def test_a_newer_schema_is_refused(url):
    with Store.open(url) as store, store._database.engine.begin() as connection:
        connection.execute(_schema.META.update().values(value="7"))
    with pytest.raises(RunMismatch, match="schema 7; this one reads up to 1"):
        Store.open(url)


@pytest.mark.postgres
def test_a_writer_whose_connection_was_lost_does_not_write_over_another(url):
    with Store.open(url) as one, Store.open(url) as two:
        mine, theirs = one.journal("search"), two.journal("search")
        with mine.locked():
            mine.begin({})
            with two._database.engine.begin() as connection:
                ours = text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> :me")
                me = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
                assert connection.execute(ours, {"me": me}).scalar_one()
            with theirs.locked():
                theirs.tell([evaluation(1)])
            with pytest.raises(RunLocked, match="another process has written to the same run"):
                mine.tell([evaluation(2)])
            assert [e.architecture["x"] for e in two.evaluations()] == [1]


HOLD = """
import sys, time
from archsmith.store import Store
store = Store.open(sys.argv[1])
with store.journal("search").locked():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.postgres
def test_a_lock_names_its_holder_and_dies_with_it(url, monkeypatch):
    child = subprocess.Popen([sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE, text=True)
    with child, Store.open(url) as store:
        assert child.stdout.readline() == "held\n"
        monkeypatch.setattr("archsmith.store.locks._TAKE_TIMEOUT_S", 0.1)
        holder = rf"process {child.pid} on {os.uname().nodename}"
        with pytest.raises(RunLocked, match=holder), store.journal("search").locked():
            pass
        monkeypatch.undo()
        child.send_signal(signal.SIGKILL)
        child.wait()
        with store.journal("search").locked():
            pass


@pytest.mark.postgres
def test_passwords_are_not_shown(url):
    with Store.open(str(url).replace("//archsmith@", "//archsmith:secret@")) as store:
        assert "secret" not in store.label


def test_a_server_that_is_not_there_is_named_without_its_password():
    with pytest.raises(
        UserError, match=r"cannot reach postgresql://me:\*\*\*@127\.0\.0\.1:9/x .*; check host"
    ) as caught:
        Store.open("postgresql://me:secret@127.0.0.1:9/x")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://host/database", "https://example.org/store.db"])
def test_other_databases_are_refused(url):
    with pytest.raises(UserError, match="is no kind of store; give a path"):
        Store.open(url)


def test_a_url_that_cannot_be_read():
    with pytest.raises(UserError, match="cannot read the store's URL"):
        Store.open("postgresql://host:port/x")


def test_without_the_driver_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"pip install 'archsmith\[postgres\]'"):
        Store.open("postgresql://host/x")
