"""Methods that other packages bring: under today's roles and the former ones, and what is said where they break."""

import sys

import pytest

from archsmith import Relaxed, method
from archsmith.errors import InvalidOption, UserError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """``package(group, name, target)``: a distribution of somebody else's with one entry point."""

    def make(group, name, target, code=""):
        (tmp_path / "others.py").write_text(code, encoding="utf-8")
        info = tmp_path / "others-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n", encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(method, "entry_points", getattr(method.entry_points, "__wrapped__", method.entry_points))
        monkeypatch.delitem(sys.modules, "others", raising=False)

    return make


RULE = """
from archsmith.method import OURS
from archsmith.structure.rules.base import Rule

class Own(Rule):
    '''Follows nothing, and is found.'''
    paper = OURS
"""


@pytest.mark.parametrize("group", ["archsmith.structure.rules", "archsmith.supernet.rules"])
def test_entry_points_of_a_former_role_count(package, group):
    package(group, "own_rule", "others:Own", RULE)
    assert "own_rule" in method.names("structure.rules")
    assert method.load("structure.rules", "own_rule").__name__ == "Own"
    assert [i.summary for i in method.describe("structure.rules") if i.name == "own_rule"] == [
        "Follows nothing, and is found."
    ]


def test_a_former_role_is_read_as_todays():
    assert method.names("supernet.rules") == method.names("structure.rules")
    assert method.load("supernet.operators", "views") is method.load("discovery.operators", "views")


def test_a_method_that_cannot_be_loaded_is_told_as_its_package_and_where_modules_went(package):
    package("archsmith.strategy", "gone", "others:Own", "from archsmith.strategy._ledger import Ledger")
    with pytest.raises(UserError, match=r"the strategy 'gone' of others cannot be loaded.*docs/upgrading.md"):
        method.load("strategy", "gone")
    with pytest.raises(UserError, match=r"_ledger'; its modules moved in 0\.2: docs/upgrading.md"):
        method.load("strategy", "others:Own")


def test_what_is_no_mixing_rule_is_refused():
    with pytest.raises(InvalidOption, match="mixing=5 must be a rule"):
        Relaxed({}, 5)
