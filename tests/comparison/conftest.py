"""A tiny published table that comparisons are made on, and one finished comparison for all who look at one."""

import pytest

from archsmith.comparison import compare, parse_entries, parse_problems, summarise
from archsmith.testing.tables import tiny_benchmark

TINY = "archsmith.testing.tables:TinyTable"


def import_tiny(home):
    (home / "benchmarks").mkdir()
    tiny_benchmark(home / "benchmarks")


@pytest.fixture
def tiny(home):
    """Two problems on the table: two objectives, and one alone."""
    import_tiny(home)
    return parse_problems([f"{TINY} max val_acc min latency_ms", f"{TINY} max val_acc"], budget=20)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a comparison and its summary."""
    home, folder = tmp_path_factory.mktemp("tables"), tmp_path_factory.mktemp("comparison")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHSMITH_HOME", str(home))
        import_tiny(home)
        texts = [
            f"{TINY} max val_acc min latency_ms",
            f"{TINY} max val_acc min latency_ms min params",
            f"{TINY} max val_acc",
        ]
        entries = parse_entries(["nsga2:population=8@<NSGA-II> nsga2:population=4"])
        compare(entries, parse_problems(texts, budget=24), range(4), folder)
        return folder, summarise(folder, date="2026-01-31", trust=True)
