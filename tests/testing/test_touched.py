"""A change touches what imports it, by any chain."""

import subprocess

import pytest

from archsmith.testing.touching import changed_files, imports, touched

FILES = {
    "__init__": "",
    "base": "import json",
    "kit/__init__": "from archsmith.base import thing",
    "kit/part": "",
    "one": "def f():\n    from archsmith.kit.part import g",
    "two": "from archsmith import one\nimport archsmith.two",
    "apart": "import archsmith",
}


@pytest.fixture
def root(tmp_path):
    for name, text in FILES.items():
        file = tmp_path / "src" / "archsmith" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "reached"),
    [
        ("apart", {"apart"}),
        ("two", {"two"}),
        ("one", {"one", "two"}),
        ("kit/part", {"kit.part", "one", "two"}),
        ("base", {"base", "kit", "one", "two"}),
    ],
)
def test_by_any_chain(root, changed, reached):
    found = touched({f"src/archsmith/{changed}.py", "docs/x.md"}, imports(root / "src"))
    assert found == {f"archsmith.{name}" for name in reached}


def test_changes_since_a_commit_and_in_the_work_tree(root):
    def git(*arguments):
        who = ("-c", "user.name=me", "-c", "user.email=me@here")
        subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)

    git("init", "--initial-branch", "main")
    git("add", ".")
    git("commit", "-m", "first")
    (root / "src/archsmith/base.py").write_text("2")
    git("commit", "-am", "second")
    assert changed_files(root) == {"src/archsmith/base.py"}
    git("checkout", "-b", "mine")
    (root / "src/archsmith/one.py").write_text("3")
    git("commit", "-am", "third")
    (root / "src/archsmith/two.py").write_text("4")
    (root / "new.py").write_text("")
    assert changed_files(root) == {"src/archsmith/one.py", "src/archsmith/two.py", "new.py"}
    assert changed_files(root, "HEAD") == {"src/archsmith/two.py", "new.py"}
