"""The documentation is run, generated pages are fresh, links lead somewhere, every command is described."""

import doctest
import importlib.util
import os
import pkgutil
import re
from pathlib import Path

import pytest

from archsmith.version import __version__

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_examples_run(page, tmp_path, monkeypatch, clock):
    monkeypatch.chdir(tmp_path)  # what an example writes is no business of the project's folder
    outcome = doctest.testfile(
        str(page), module_relative=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, encoding="utf-8"
    )
    assert outcome.failed == 0


def test_the_pages_of_a_method_author_have_examples():
    text = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
    assert len(doctest.DocTestParser().get_examples(text)) >= 5


@pytest.mark.parametrize("name", ["methods.md", "cli.md", "latency-figures.md", "how-strategies-compare.md"])
def test_generated_pages_are_fresh(name, generate, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    held = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert held == generate.PAGES[name](), f"docs/{name} is stale: make docs"


def test_every_command_says_what_it_does(generate):
    for path, command in generate.commands():
        assert len(command.help or "") > 30, f"{path} has no help"
        for parameter in command.params:
            assert getattr(parameter, "help", ""), f"{path} {parameter.name} has no help"


def test_every_command_is_tested(generate):
    """The tests give each command as a user does: its name is a word of a list, ``"search"``."""
    tests = "\n".join(f.read_text(encoding="utf-8") for f in (ROOT / "tests").rglob("test_*.py") if f != Path(__file__))
    missed = [path for path, _ in generate.commands() if " " in path and f'"{path.split()[1]}"' not in tests]
    assert not missed


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else Path(os.path.normpath(page.parent / path))
        assert target.exists(), f"{page.name} links to {link}, which is not there"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}, which has no such heading"


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in index, f"docs/index.md does not lead to {page.name}"


def test_the_changelog_has_this_version():
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_what_the_upgrade_notes_lead_to_is_there():
    """Every name in the right-hand column of the tables of modules."""
    page = (ROOT / "docs" / "upgrading.md").read_text(encoding="utf-8")
    targets = [row.split("|")[2] for row in page.splitlines() if row.startswith("| `archsmith.")]
    named = [name for target in targets for name in re.findall(r"`(archsmith\.[\w.]*\w)[`(]", target)]
    assert len(named) > 15
    for name in named:
        if "<" not in name:
            pkgutil.resolve_name(name)
