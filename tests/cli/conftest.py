"""The command line as a user runs it: one real search for all tests that look at a finished run."""

import io
import json
import os
import pty
import subprocess
import sys
import termios
from contextlib import redirect_stderr, redirect_stdout, suppress
from types import SimpleNamespace

import pytest

from archsmith import cli
from archsmith.testing.steady import steady_time

SMALL = ["--data", "digits", "--images", "500", "--epochs", "1", "--model-option", "depths=1,2"]
SMALL += ["--model-option", "widths=[[4,8],[4,8]]"]
MEASURED = [
    *SMALL,
    "--on",
    "onnxruntime:batch=8",
    "--limit",
    "latency_ms<=90%",
    "--budget",
    "7",
    "--baseline",
    "random:2",
]


@pytest.fixture(autouse=True)
def _on_steady_clocks(clock):
    """Every search here measures, and none has to know the machine."""


@pytest.fixture(scope="session")
def start():
    """Starts a command as a process of its own."""

    def run(*arguments, **options):
        command = [sys.executable, "-c", "from archsmith.cli import main; main()", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, **pipes, **options)

    return run


@pytest.fixture(scope="session")
def through_a_terminal():
    """Runs Python with arguments on a terminal of its own: all that it writes there, as text.

    It is started by :mod:`subprocess`: a process with threads, as one that has run networks, cannot fork safely.
    """

    def run(*arguments, columns=300, environment=os.environ):
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, columns))
        child = subprocess.Popen(
            [sys.executable, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        found = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not part:
                break
            found += part
        os.close(ours)
        assert child.wait() == 0, found.decode(errors="replace")
        return found.decode()

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory, one_thread):
    """A run that was searched, exported and reported, and what the command printed."""
    folder = tmp_path_factory.mktemp("cli") / "digits"
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err), steady_time():
        home = tmp_path_factory.mktemp("home")
        patch.setenv("ARCHSMITH_HOME", str(home))
        patch.setattr(sys, "argv", ["archsmith", "search", "--run", str(folder), *MEASURED, "--json"])
        with suppress(SystemExit):
            cli.main()
    assert (folder / "report.html").exists(), err.getvalue()
    return SimpleNamespace(
        folder=folder, front=json.loads(out.getvalue()), err=err.getvalue(), command=MEASURED, home=home
    )


@pytest.fixture(scope="session")
def holds():
    """Statuses of the checks of an ended ``archsmith verify --json`` that found nothing wrong.

    A busy machine may really run the file slower than it did a minute ago, and saying so is verify's task: where real
    clocks run, about the latency only the exit code has to agree with what was found.
    """

    def statuses(command):
        checks = {c["name"]: c["status"] for c in json.loads(command.out)["checks"]}
        assert {status for name, status in checks.items() if name != "latency"} <= {"ok", "skipped"}, command.out
        assert command.code == (checks["latency"] == "failed"), command.out
        return checks

    return statuses
