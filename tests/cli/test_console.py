"""What is printed is what was said."""

import subprocess
import sys

import pytest

from archsmith.cli._console import far
from archsmith.progress import Progress

CODE = """
import sys
from archsmith.cli._console import errors, results, progress, _bars
from archsmith.progress import Progress
results.print("a :cat: and nasbench_graph:cat:x", markup=False)
with progress() as listen:
    listen(Progress("search", "of :cat:", 1, 2))
with _bars() as bars:
    bars.add_task("a [red] :cat:", total=1, stage="stage", left="", far="")
print("rich._emoji_codes" in sys.modules)
"""


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (Progress("search", "", 7, 20), "7/20"),
        (Progress("device", "waiting"), "0/?"),
        (Progress("search", "", 98, 5400, timed=True), "98 s/1:30:00"),
        (Progress("search", "", 130, 1800, timed=True), "02:10/30:00"),
    ],
)
def test_seconds_of_a_budget_are_no_evaluations(event, shown):
    assert far(event) == shown


def test_colons_in_names_are_no_emoji_and_no_table_of_them_is_loaded():
    """Loading it in the middle of a print is what Ctrl-C once ended in."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["a :cat: and nasbench_graph:cat:x", "False"]
    assert "of :cat:" in done.stderr
    assert "a [red] :cat:" in done.stderr
