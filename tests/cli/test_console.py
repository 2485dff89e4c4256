"""What is printed is what was said."""

import subprocess
import sys

CODE = """
import sys
from archsmith.cli._console import errors, results, progress, _bars
from archsmith.api.progress import Progress
results.print("a :cat: and nasbench_graph:cat:x", markup=False)
with progress() as listen:
    listen(Progress("search", "of :cat:", 1, 2))
with _bars() as bars:
    bars.add_task("a [red] :cat:", total=1, stage="stage", left="")
print("rich._emoji_codes" in sys.modules)
"""


def test_colons_in_names_are_no_emoji_and_no_table_of_them_is_loaded():
    """Loading it in the middle of a print is what Ctrl-C once ended in."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["a :cat: and nasbench_graph:cat:x", "False"]
    assert "of :cat:" in done.stderr
    assert "a [red] :cat:" in done.stderr
