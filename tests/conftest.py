"""What every test gets: one thread, a home of its own, one Hypothesis profile."""

import functools
import json
import os
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "archsmith",
    deadline=None,
    max_examples=30,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
settings.load_profile("archsmith")


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files; say why in the commit")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Slow tests run only when they are asked for: ``-m slow`` or by ``make test-slow``."""
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker("slow")
    if "slow" not in (config.getoption("-m") or ""):
        skip = [i for i in items if i.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=skip)
        items[:] = [i for i in items if not i.get_closest_marker("slow")]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With ARCHSMITH_REQUIRE_ALL=1 a skipped test is a failed one."""
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


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """Locks and anchors of this test only."""
    path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("ARCHSMITH_HOME", str(path))
    return path


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
    """A folder's tests share a process, and with it the fixtures that are dear."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return str(Path(nodeid.partition("::")[0]).parent)

    return ByFolder(config, log)
