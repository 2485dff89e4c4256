"""What runs, agents and files say is read, never obeyed: no control sequence of theirs reaches the terminal."""

import io
import json
import os
import re

import pytest
from rich.console import Console
from rich.text import Text

from archsmith import cli
from archsmith.cli._console import results
from archsmith.texts import escaped

HOSTILE = "a\x1b[31m\x07\x9b2J\x1b]8;;x:y\x1b\\\r\u202eb\u2066\ud800[link=x:y]\U000e0041"
OURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
"""Colours and cursor movements, as rich writes them."""
CODE = """
import logging, sys, threading, warnings
from rich.table import Table
from rich.text import Text
from archsmith.progress import Progress
from archsmith.architecture import Architecture, Proposal
from archsmith.cli import _console as c, files
from archsmith.evaluation import Evaluation, Value
from archsmith.metric import Limit, Objective
from archsmith.report import ReportData, terminal
text = HOSTILE
kind, values = f"m{text}", {f"m{text}": Value(1.0, "measured", 0.9, 1.1)}
found = Evaluation(proposal=Proposal(Architecture("5f", (("depth", 1),))), values=values, evaluator=text)
failed = Evaluation(proposal=found.proposal, values={}, evaluator="e", status="failed", reason=text)
data = ReportData(title=text, run=text, objectives=[Objective(kind, "max")], evaluations=[found, failed],
                  limits=[Limit(kind, "<=", 0.5)])
c.results.print(terminal.front_table(data))
c.results.print(terminal.front_table(ReportData(title=text, run=text, objectives=[Objective(kind, "max")],
                                                evaluations=[found])))
c.results.print(files._shares((text, text), [(text, text, 1.0)], 1.0))
table = Table(text, title=text)
table.add_row(Text(text, style="bold"))
c.results.print(table)
c.results.print(text, style="bold")
c.print_json({text: text})
with c.progress() as listen:
    listen(Progress(text, text, 1, 2))
with c.guarded():
    warnings.warn(text)
    logging.getLogger(text).warning(text)
    def fails(): raise OSError(text)
    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()
c._Lines()(Progress(text, text, 1, 2))
"""


def raw_controls(text):
    """Controls and reordering characters that are left when newlines and what rich writes of its own are gone."""
    rest = OURS.sub("", text.replace("\r\n", "\n").replace("\r", ""))
    return re.findall(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]", rest
    )


def test_nothing_that_is_printed_holds_a_command_to_the_terminal(through_a_terminal):
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "300", "PYTHONIOENCODING": "utf-8"}
    shown = through_a_terminal("-c", CODE.replace("HOSTILE", ascii(HOSTILE)), environment=environment)
    assert not raw_controls(shown)
    assert "\x1b[31m" not in shown  # neither as rich would write it: nothing here is red
    assert "\x1b]8" not in shown
    assert shown.count(r"a\x1b[31m") >= 12
    assert r"\u202eb" in shown
    assert "Exception in thread" not in shown  # as Python would print it
    assert r"OSError: a\x1b[31m\x07\x9b2J" in shown
    assert shown.count(r"\x1b\\x0d\u202e") >= 12  # in the table of the front, too, of whose texts rich drops some


def test_json_stays_equal(capfd):
    data = {HOSTILE: [HOSTILE, "é\tn\n"]}
    cli.inspect.print_json(data)
    out = capfd.readouterr().out
    assert json.loads(out) == data
    assert not raw_controls(out)
    assert "é" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", f"/nowhere/{HOSTILE}".replace("\ud800", "")),
        ("--debug", "show", f"/nowhere/{HOSTILE}".replace("\ud800", "")),
        (HOSTILE,),
        ("show", "x", f"--{HOSTILE}"),
        ("show", "x", HOSTILE),
    ],
    ids=["error", "traceback", "command", "option", "argument"],
)
def test_errors_show_names_escaped(archsmith, arguments):
    done = archsmith(*arguments)
    assert done.code == 2
    assert not raw_controls(done.out + done.err)
    assert "\\x1b" in done.err


def test_letters_of_all_languages_stay():
    assert escaped("Größe 模型 مرحبا \u200d👩\u200d🔬 1\t2\n") == "Größe 模型 مرحبا \u200d👩\u200d🔬 1\t2\n"


def test_text_keeps_its_styles_where_some_of_it_is_escaped():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system="standard")
    console.__class__ = type(results)
    console.print(Text.assemble(("a\x1bb", "bold"), "c", ("\u202ed", "red")))
    bold = "".join(f"\x1b[1m{part}\x1b[0m" for part in ("a", "\\x1b", "b"))
    assert stream.getvalue() == f"{bold}c\x1b[31m\\u202e\x1b[0m\x1b[31md\x1b[0m\n"
