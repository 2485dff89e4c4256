"""What every test gets: one thread, a home of its own, one Hypothesis profile."""

import functools
import gc
import itertools
import json
import os
import resource
import sys
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import typer.main
from hypothesis import HealthCheck, settings

from archsmith import method
from archsmith.testing.touching import changed_files, imports, touched

settings.register_profile(
    "archsmith",
    deadline=None,
    max_examples=30,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
settings.load_profile("archsmith")


BEGAN = pytest.StashKey[float]()
SPENT, WORKERS = {}, []
"""CPU seconds of each test, and of each process that ran some."""
SUITES = ("test_conformance", "test_predictors")
ROOT = Path(__file__).parents[1]
SECONDS = Path(__file__).with_name("slow_seconds.json")
"""Of each file its slow tests: how many were measured, and their CPU seconds together."""


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files; say why in the commit")
    parser.addoption(
        "--touched",
        nargs="?",
        const="",
        metavar="BASE",
        help="also the whole suites of methods that the changes since BASE touch; without it, since main was left",
    )
    parser.addoption("--note-seconds", action="store_true", help=f"write down in {SECONDS.name} what slow tests took")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Slow tests run only when they are asked for: ``-m slow`` or by ``make test-slow``.

    Slow is also the whole suite of a method, unless it is touched: ``--touched``.
    """
    base = config.getoption("--touched")
    changed = changed_files(ROOT, base) if base is not None else set()
    reached = touched(changed, imports(ROOT / "src")) if changed else set()
    for item in items:
        full = item.get_closest_marker("full")
        suite = {"src/archsmith/testing", str(item.path.relative_to(ROOT))} if full else set()
        if full and not ({*full.args} & reached or any(path.startswith(tuple(suite)) for path in changed)):
            item.add_marker("slow")
    if "slow" not in (config.getoption("-m") or ""):
        skip = [i for i in items if i.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=skip)
        items[:] = [i for i in items if not i.get_closest_marker("slow")]


def pytest_collection_finish():
    """What is imported by now stays: no collection of garbage needs to look at it again."""
    gc.collect()
    gc.freeze()


def pytest_report_collectionfinish(config, items):
    """What slow tests will take, before they begin."""
    slow = Counter(i.location[0] for i in items if i.get_closest_marker("slow"))
    if not slow:
        return None
    known = json.loads(SECONDS.read_text(encoding="utf-8"))
    each = {file: seconds / n for file, (n, seconds) in known.items()}
    usual = sum(seconds for _, seconds in known.values()) / max(1, sum(n for n, _ in known.values()))
    minutes = sum(n * each.get(file, usual) for file, n in slow.items()) / 60
    new = sum(n for file, n in slow.items() if file not in each)
    if not known:
        return f"{slow.total()} slow tests: nobody has measured them yet; --note-seconds writes down what they take"
    return f"{slow.total()} slow tests: about {minutes:.0f} CPU-minutes" + (f", {new} not measured yet" if new else "")


def cpu_s():
    """CPU seconds of this process, of its children that ended and, where the system tells, of those that live."""
    spent = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    for file in Path("/proc/self/task").glob("*/children"):
        for child in file.read_text().split():
            with suppress(OSError):
                fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                spent += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return spent


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Its fixtures count where they are first used."""
    item.stash[BEGAN] = cpu_s()
    return (yield)


def pytest_runtest_logreport(report):
    """Adds up, in the process that shows the results."""
    if report.when == "teardown":
        SPENT[report.nodeid] = dict(report.user_properties).get("cpu_s", 0.0)


def pytest_sessionfinish(session):
    """A worker tells what it took in all."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["cpu_s"] = cpu_s()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """A worker has ended."""
    WORKERS.append(getattr(node, "workeroutput", {}).get("cpu_s", 0.0))


def pytest_terminal_summary(terminalreporter, config):
    """What the suite costs, so that growth is seen; nothing fails by it."""
    total = sum(WORKERS) + sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) if WORKERS else cpu_s()
    terminalreporter.section(f"{total:.0f} CPU-seconds")
    for nodeid in sorted(SPENT, key=SPENT.get, reverse=True)[:10]:
        terminalreporter.line(f"{SPENT[nodeid]:6.1f} s  {nodeid}")
    if config.getoption("--note-seconds"):
        known = json.loads(SECONDS.read_text(encoding="utf-8"))
        for file, found in itertools.groupby(sorted(SPENT), lambda nodeid: nodeid.partition("::")[0]):
            seconds = [SPENT[nodeid] for nodeid in found]
            known[file] = [len(seconds), round(sum(seconds), 1)]
        SECONDS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Notes what the test took. With ARCHSMITH_REQUIRE_ALL=1 a skipped test is a failed one."""
    if call.when == "teardown":
        item.user_properties.append(("cpu_s", cpu_s() - item.stash[BEGAN]))
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("ARCHSMITH_REQUIRE_ALL") == "1" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although everything is required: {report.longrepr}"


@pytest.fixture
def golden(request):
    """``golden(path, seen)``: what was seen equals what the file pins."""

    def check(path, seen):
        if request.config.getoption("--update-golden"):
            path.write_text(json.dumps(seen, indent=1) + "\n", encoding="utf-8")
        pinned = json.loads(path.read_text(encoding="utf-8"))
        assert seen == pinned, f"{path.name} moved; if that is intended, rerun with --update-golden and say why"

    return check


@pytest.fixture(scope="session")
def homes(tmp_path_factory):
    """A folder for thousands of them: pytest's own look through all that there are before each new one."""
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def home(homes, monkeypatch):
    """Locks and anchors of this test only."""
    path = homes / uuid.uuid4().hex
    path.mkdir()
    monkeypatch.setenv("ARCHSMITH_HOME", str(path))
    return path


@pytest.fixture(autouse=True, scope="session")
def read_once():
    """What is installed does not change meanwhile, and looking through hundreds of packages takes its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method, "entry_points", functools.cache(method.entry_points))
        # nor do the options of commands, which typer reads anew whenever one is called
        patch.setattr(typer.main, "get_params_from_function", functools.cache(typer.main.get_params_from_function))
        yield


@pytest.fixture
def clock(request):
    """Latencies follow from the weights and cost no time; slow tests have the time and keep the real clocks."""
    if request.node.get_closest_marker("slow"):
        yield None
        return
    from archsmith.testing.steady import steady_time

    with steady_time() as found:
        yield found


@pytest.fixture
def archsmith(monkeypatch, capfd):
    """Runs one command in this process: its exit code, what it printed and what it said beside."""

    from archsmith import cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["archsmith", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return SimpleNamespace(code=ended.value.code or 0, out=out, err=err)

    return run


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Two OpenMP threads on busy cores can be many times slower than one."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def operators_once():
    """torch's exporter translates its five hundred operators anew for each file, most of a small one's time."""
    yield
    exporter = sys.modules.get("torch.onnx._internal.exporter._registration")
    if exporter and not hasattr(exporter.ONNXRegistry.from_torchlib, "cache_info"):
        exporter.ONNXRegistry.from_torchlib = staticmethod(functools.cache(exporter.ONNXRegistry.from_torchlib))


@pytest.fixture
def postgres_url():
    """A schema of this test only, in the server that ARCHSMITH_TEST_POSTGRES names."""
    server = os.environ.get("ARCHSMITH_TEST_POSTGRES")
    if not server:
        pytest.skip("ARCHSMITH_TEST_POSTGRES is not set")
    from sqlalchemy import create_engine, make_url, text

    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(make_url(server).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    yield f"{server}?options=-csearch_path%3D{name}"
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    engine.dispose()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A module's tests share a process, and with it the fixtures that are dear.

    Of a suite that every method runs it is each method's; the command line's tests share one finished search.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Shared(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path, _, test = nodeid.partition("::")
            if path.startswith("tests/cli/"):
                return "tests/cli"
            return f"{path}::{test.partition('::')[0]}" if Path(path).stem in SUITES and "::" in test else path

    return Shared(config, log)
