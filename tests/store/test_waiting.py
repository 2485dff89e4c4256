"""Servers that go away, clients that freeze, passwords that are asked for in plain."""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from archsmith.errors import RunLocked, UserError
from archsmith.progress import Reporter
from archsmith.store import Store, _postgres, _schema, _waiting
from archsmith.store._waiting import Patience
from archsmith.testing.stores import evaluation, proposal


class Clock:
    """Goes on only while somebody sleeps."""

    now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Gone(Exception):
    """Stands in for an error of the driver."""

    def __init__(self, sqlstate, says="server closed the connection"):
        super().__init__(says)
        self.sqlstate = sqlstate


def failing(*errors):
    """A transaction that fails so often, and notes whether it is told that it is repeated."""
    left, seen = list(errors), []

    def transaction(again):
        seen.append(again)
        if left:
            raise OperationalError("SELECT 1", {}, left.pop(0))
        return "done"

    return transaction, seen


def patience(clock, said, *, reached=True):
    found = Patience("the store", Reporter(lambda event: said.append(event.text)), clock=clock, sleep=clock.sleep)
    found.reached = reached
    return found


@pytest.mark.parametrize("code", ["57P01", "57P02", "57P03", "08006", "08P01", "25P03"])
def test_a_server_that_comes_back_is_waited_for(code):
    clock, said = Clock(), []
    transaction, seen = failing(*[Gone(code)] * 15)
    assert patience(clock, said)(transaction) == "done"
    assert seen == [False] + [True] * 15
    assert 20 < clock.now < 30
    assert [s.partition(" (")[0] for s in said] == ["the store does not respond"] * 3


def test_after_a_minute_it_says_that_the_work_is_kept():
    clock, said = Clock(), []
    transaction, _ = failing(*[Gone("57P01")] * 1000)
    with pytest.raises(UserError, match=r"not responded for 6\d s .*committed before is kept.*same command again"):
        patience(clock, said)(transaction)
    assert len(said) == 6


def test_a_server_that_never_answered_is_not_waited_for_unless_it_is_starting():
    clock, said = Clock(), []
    transaction, _ = failing(Gone("08006"))
    with pytest.raises(OperationalError):
        patience(clock, said, reached=False)(transaction)
    assert clock.now == 0
    transaction, _ = failing(Gone(None, "FATAL:  the database system is starting up"))
    assert patience(clock, said, reached=False)(transaction) == "done"


def test_what_is_no_lost_server_is_told_at_once_and_conflicts_are_repeated_in_silence():
    clock, said = Clock(), []
    transaction, _ = failing(Gone("42P01"))
    with pytest.raises(OperationalError):
        patience(clock, said)(transaction)
    transaction, seen = failing(Gone("40P01"), Gone("40001"))
    assert patience(clock, said)(transaction) == "done"
    assert len(seen) == 3
    assert said == []


def test_the_wait_can_be_interrupted():
    def sleep(seconds):
        raise KeyboardInterrupt

    transaction, _ = failing(Gone("57P01"))
    waiting = Patience("the store", clock=Clock(), sleep=sleep)
    waiting.reached = True
    with pytest.raises(KeyboardInterrupt):
        waiting(transaction)


# --- a real server


@pytest.fixture(scope="module")
def server():
    """A server of our own, which we may restart: ``(url, control)``."""
    if "ARCHSMITH_TEST_POSTGRES" not in os.environ:
        pytest.skip("set ARCHSMITH_TEST_POSTGRES: these tests start a server of their own")
    tools = max(Path("/usr/lib/postgresql").glob("*/bin"))
    folder = Path(tempfile.mkdtemp())
    root = os.getuid() == 0
    if root:
        shutil.chown(folder, "postgres")
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]

    def call(tool, *arguments):
        command = [str(tools / tool), "-D", str(folder / "data"), *arguments]
        command = ["runuser", "-u", "postgres", "--", *command] if root else command
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def control(*arguments):
        settings = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c deadlock_timeout=100ms"
        call("pg_ctl", "-l", str(folder / "log"), "-w", "-o", settings, *arguments)

    call("initdb", "-U", "archsmith", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
    control("start")
    yield f"postgresql://archsmith@127.0.0.1:{port}/postgres", control, folder
    control("-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture
def url(server):
    with closing(Store.open(server[0])) as store, store._database.engine.begin() as connection:
        connection.execute(text("TRUNCATE archsmith_evaluations, archsmith_journal, archsmith_runs, archsmith_locks"))
    return server[0]


@pytest.mark.postgres
def test_a_restart_in_the_middle_of_a_run_loses_nothing(server, url):
    said = []
    with Store.open(url, reporter=Reporter(lambda event: said.append(event.text))) as store, Store.open(url) as other:
        journal = store.journal("search")
        with journal.locked():
            journal.begin({})
            journal.ask(1, [proposal(1)])
            server[1]("-m", "fast", "restart")
            assert journal.tell([evaluation(1)]).new == 1
            server[1]("-m", "immediate", "stop")
            later = threading.Timer(0.5, server[1], ("start",))
            later.start()
            journal.ask(1, [proposal(2)])
            later.join()
            with pytest.raises(RunLocked, match=f"process {os.getpid()}"), other.journal("search").locked():
                pass
        assert [line.number for line in journal.lines] == [0, 1, 2]
    assert any("does not respond" in s for s in said)


@pytest.mark.postgres
def test_a_commit_whose_answer_was_lost_is_not_repeated(url, monkeypatch):
    with Store.open(url) as store:
        journal = store.journal("search")
        for what in ("begin", "ask", "tell"):
            cut_after_commit(monkeypatch, store)
            with journal.locked():
                call = {"begin": ({"a": 1},), "ask": (1, [proposal(1)]), "tell": ([evaluation(1)],)}[what]
                line = getattr(journal, what)(*call)
        assert line.new == 1, "the line as it was committed, not as it would be now"
        assert [x.kind for x in journal.lines] == ["ask", "tell"]
        assert journal.header == {"a": 1}
        assert len(store.evaluations()) == 1


def cut_after_commit(monkeypatch, store):
    """The next transaction that writes is committed, and then its connection is lost."""
    engine = store._database.engine
    options, cuts = type(engine).execution_options, []

    def execution_options(self, **given):
        found = options(self, **given)
        begin = found.begin

        def cut():
            context = begin()
            leave = context.__exit__

            class Cut:
                __enter__ = staticmethod(context.__enter__)

                def __exit__(self, *error):
                    leave(*error)
                    if not cuts and error[0] is None:
                        cuts.append(1)
                        raise OperationalError("COMMIT", {}, Gone("08006"))

            return Cut()

        found.begin = cut
        return found

    monkeypatch.setattr(type(engine), "execution_options", execution_options)


@pytest.mark.postgres
def test_a_run_that_another_process_took_over_meanwhile_stops(url):
    with Store.open(url) as one, Store.open(url) as two:
        mine, theirs = one.journal("search"), two.journal("search")
        with mine.locked():
            mine.begin({})
            with two._database.engine.begin() as connection:
                others = "pid <> pg_backend_pid() AND usename IS NOT NULL"
                end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
                connection.execute(text(end))
            with theirs.locked(), pytest.raises(RunLocked, match="is being written by process"):
                one._database.patience(lambda again: one._database._renew() if again else broken())
            assert mine.lines == []


def broken():
    raise OperationalError("SELECT 1", {}, Gone("57P01"))


@pytest.mark.postgres
def test_two_runs_that_bring_the_same_evaluations_in_another_order_both_end(url):
    together = threading.Barrier(2)
    errors, told = [], {}

    def bring(name, order):
        try:
            with Store.open(url) as store, store.journal(name).locked():
                journal = store.journal(name)
                with journal.locked():
                    journal.begin({})
                    together.wait()
                    told[name] = journal.tell([evaluation(x) for x in order]).new
        except Exception as error:  # noqa: BLE001 - told to the test below
            errors.append(error)

    threads = [threading.Thread(target=bring, args=x) for x in (("a", range(30)), ("b", range(29, -1, -1)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(told.values()) == 30
    with Store.open(url) as store:
        assert len(store.evaluations()) == 30


@pytest.mark.postgres
def test_a_frozen_client_is_in_nobodys_way_but_of_the_same_evaluation(url, monkeypatch):
    monkeypatch.setattr(_postgres, "BUSY_S", 0.3)
    with Store.open(url) as store, closing(Store.open(url)) as frozen:
        held = frozen._database.engine.connect()
        held.execute(text("SET idle_in_transaction_session_timeout = 0"))
        columns = ("space", "key", "evaluator", "fidelity", "seed")
        row = dict(zip(columns, evaluation(1).identity, strict=True), record="{}")
        held.execute(_schema.EVALUATIONS.insert().values(row))
        assert store.add(evaluation(2)) == evaluation(2)
        with pytest.raises(RunLocked, match=r"another process has kept .* busy for a minute; wait for it or end it"):
            store.add(evaluation(1))
        held.rollback()
        assert store.add(evaluation(1)) == evaluation(1)
        held.close()


@pytest.mark.postgres
def test_the_server_ends_a_session_that_sleeps_in_a_transaction(url, monkeypatch):
    monkeypatch.setattr(_postgres, "BUSY_S", 0.2)
    with Store.open(url) as store:
        held = store._database.engine.connect()
        held.execute(text("SELECT 1"))
        threading.Event().wait(0.5)
        with pytest.raises(DBAPIError, match="idle-in-transaction"):
            held.execute(text("SELECT 1"))
        held.invalidate()
        assert store.evaluations() == []


@pytest.mark.postgres
def test_a_password_is_not_sent_in_plain(server, url):
    _, control, folder = server
    rules = folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    secret = url.replace("//archsmith@", "//archsmith:secret@")
    with Store.open(url) as store, store._database.engine.begin() as connection:
        connection.execute(text("SET password_encryption = md5"))
        connection.execute(text("ALTER ROLE archsmith PASSWORD 'secret'"))
    try:
        for method in ("password", "md5"):
            rules.write_text(f"host all all 127.0.0.1/32 {method}\n")
            control("reload")
            threading.Event().wait(0.2)
            with pytest.raises(
                UserError, match=r"asks for a password in a form .* configure it for scram-sha-256"
            ) as caught:
                Store.open(secret)
            assert "secret" not in str(caught.value)
    finally:
        rules.write_text(before)
        control("reload")


@pytest.mark.postgres
def test_the_url_has_the_last_word(url):
    given = f"{url}?application_name=mine&options=-c%20lock_timeout%3D7s&connect_timeout=3"
    with Store.open(given) as store, store._database.engine.begin() as connection:
        ask = lambda name: connection.exec_driver_sql(f"SHOW {name}").scalar_one()
        assert ask("application_name") == "mine"
        assert ask("lock_timeout") == "7s"
        assert ask("idle_in_transaction_session_timeout") == "1min"


def test_a_minute_is_a_minute():
    assert (_waiting.WAIT_S, _waiting.REPORT_EVERY_S, _postgres.BUSY_S) == (60, 10, 60)
