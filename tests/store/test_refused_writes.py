"""Writes that the system cuts off: a limit on the size of files, a kill while a report is written."""

import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from archsmith.errors import StorageFull
from archsmith.files import replacing
from archsmith.store import Store
from archsmith.testing.stores import evaluation


@contextmanager
def largest_file(size):
    """Until the block ends, files may have so many bytes, as after ``ulimit -f``."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_limit_on_files_is_named_and_loses_nothing(tmp_path):
    written = []
    with Store.open(tmp_path / "store.db") as store:
        journal = store.journal("search")

        def fill():
            with journal.locked():
                journal.begin({})
                for x in range(500):
                    journal.tell([evaluation(x)])
                    written.append(x)

        refused = pytest.raises(StorageFull, match=r"ulimit -f.*committed before is intact.*same command again")
        with largest_file(300_000), refused:
            fill()
        assert 5 < len(written) < 500
    with Store.open(tmp_path / "store.db") as store:
        assert [e.architecture["x"] for e in store.journal("search").evaluations] == written


def test_a_limit_that_leaves_no_room_for_a_store(tmp_path):
    with largest_file(1000), pytest.raises(StorageFull, match="ulimit -f"):
        Store.open(tmp_path / "store.db")


WRITE = """
import sys, time
from archsmith.files import replacing
with replacing(sys.argv[1]) as temporary, temporary.open("w") as file:
    file.write("half of a report")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


def test_a_kill_while_a_report_is_written_leaves_the_old_one(tmp_path):
    report = tmp_path / "report.html"
    report.write_text("the old report")
    with subprocess.Popen([sys.executable, "-c", WRITE, str(report)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "writing\n"
        child.send_signal(signal.SIGKILL)
    assert report.read_text() == "the old report"
    [left] = [p for p in tmp_path.iterdir() if p != report]
    assert left.name.startswith(".report.html.")
    with replacing(report) as temporary:
        assert temporary != left, "what a kill left is nobody's"
        temporary.write_text("the new report")
    assert report.read_text() == "the new report"
    assert left.read_text() == "half of a report"
