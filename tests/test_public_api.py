"""What ``import archsmith`` shows is what docs/stability.md promises, and nothing else."""

import inspect
import re
from pathlib import Path

import pytest

import archsmith

STABILITY = Path(__file__).parents[1] / "docs" / "stability.md"


def promised():
    """The names in the first column of the table under "What is public"."""
    section = STABILITY.read_text(encoding="utf-8").partition("## What is public")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)


def test_public_names_are_exactly_the_promised_ones():
    assert sorted(promised()) == sorted(archsmith.__all__)
    assert len(set(archsmith.__all__)) == len(archsmith.__all__)
    assert set(dir(archsmith)) == set(archsmith.__all__)


@pytest.mark.parametrize("name", sorted(archsmith.__all__))
def test_every_public_name_is_there_and_documented(name):
    thing = getattr(archsmith, name)
    if name != "__version__":
        assert len((inspect.getdoc(thing) or "").partition("\n")[0]) > 15


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'sarch'"):
        _ = archsmith.sarch
