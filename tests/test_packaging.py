"""The wheel, installed as a user installs it: with none of the extras."""

import json
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from archsmith.errors import EXTRA_OF
from archsmith.method import describe, roles

ROOT = Path(__file__).parents[1]


def run(*command, **options):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment, check=False, **options
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    assert done.returncode == 0, done.stderr
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def core(wheel, tmp_path_factory):
    """The folder of the programs of an environment that holds the wheel and its core dependencies only."""
    home = tmp_path_factory.mktemp("clean")
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    # This environment's pip serves the new one, which then needs none of its own.
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    done = run(*pip, "install", "--quiet", "--no-compile", "--constraint", ROOT / "constraints.txt", wheel)
    assert done.returncode == 0, done.stderr
    return home / "bin"


def test_the_wheel_holds_types_licence_and_every_module(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert "archsmith/py.typed" in held
    assert any(name.endswith("licenses/LICENSE") for name in held)
    package = ROOT / "src" / "archsmith"
    ours = {str(f.relative_to(ROOT / "src")) for e in ("py", "css", "js", "onnx") for f in package.rglob(f"*.{e}")}
    assert ours <= held
    assert all(name.startswith(("archsmith/", "archsmith-")) for name in held)


ALONE = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
import archsmith
from archsmith.cli import main
try:
    archsmith.elastic
except archsmith.ArchsmithError as error:
    print(error)
sys.argv = ["archsmith", "methods"]
main()
"""


def test_without_the_packages_of_extras_the_command_works_and_a_name_says_which_is_missing():
    """A package that is not found, in place of an environment without it."""
    done = run(sys.executable, "-c", ALONE, ",".join(EXTRA_OF), cwd=ROOT / "src")
    assert done.returncode == 0, done.stderr
    assert "pip install 'archsmith[torch]'" in done.stdout
    assert not [i.name for role in roles() for i in describe(role) if i.name not in done.stdout]


@pytest.mark.slow
def test_the_core_imports_without_extras(core, tmp_path):
    code = "import archsmith, importlib.util as u; print(archsmith.__version__, u.find_spec('torch'))"
    done = run(core / "python", "-W", "error", "-c", code, cwd=tmp_path)
    assert (done.stdout.split(), done.stderr) == ([version(), "None"], "")


@pytest.mark.slow
def test_the_command_works_without_extras(core, tmp_path):
    assert version() in run(core / "archsmith", "--version", cwd=tmp_path).stdout
    assert run(core / "archsmith", "--help", cwd=tmp_path).returncode == 0
    listed = run(core / "archsmith", "methods", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    missing = [i.name for role in roles() for i in describe(role) if i.name not in listed.stdout]
    assert not missing


@pytest.mark.slow
def test_devices_and_the_agent_say_which_runtime_is_missing(core, tmp_path):
    listed = run(core / "archsmith", "devices", "--json", cwd=tmp_path)
    found = {d["name"]: d for d in json.loads(listed.stdout)}
    assert [name for name, device in found.items() if device["works"]] == ["remote"]  # which has its runtime elsewhere
    assert all("pip install" in device["why_not"] for name, device in found.items() if name != "remote")
    refused = run(core / "archsmith", "agent", "--port", "0", cwd=tmp_path)
    assert (refused.returncode, "needs onnxruntime: pip install" in refused.stderr) == (2, True)


@pytest.mark.slow
def test_a_public_name_says_which_extra_is_missing(core, tmp_path):
    code = "import archsmith\ntry: archsmith.elastic\nexcept archsmith.ArchsmithError as error: print(error)"
    assert "pip install 'archsmith[torch]'" in run(core / "python", "-c", code, cwd=tmp_path).stdout


@pytest.mark.slow
def test_a_search_says_which_extra_is_missing(core, tmp_path):
    command = ["search", "--data", "digits", "--maximize", "accuracy_top1", "--minimize", "params", "--budget", "2"]
    done = run(core / "archsmith", *command, "--run", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "pip install 'archsmith[" in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


def test_every_requirement_has_bounds_and_a_pin_within_them():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert set(EXTRA_OF.values()) <= set(extras)
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(name): pin for name, pin in (line.split("==") for line in lines if "==" in line)}
    for requirement in map(Requirement, [*project["dependencies"], *(r for found in extras.values() for r in found)]):
        if requirement.name != "archsmith":
            assert {s.operator for s in requirement.specifier} == {">=", "<"}, requirement
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def version():
    import archsmith

    return archsmith.__version__
