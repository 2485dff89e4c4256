"""Symmetries that hold for some values of another choice only."""

import numpy as np
import pytest

from archsmith.errors import UserError
from archsmith.space import Choice, ChoiceSpace, Interchangeable, from_json
from archsmith.testing.spaces import ChoiceSpaceConformance

LINKS = Choice("links", ("chain", "twins", "triplets"), "categorical")
A, B, C = (Choice(name, ("conv", "pool", "skip"), "categorical") for name in "abc")
TWINS = Interchangeable((("a",), ("b",)), ("links", ("twins",)))
TRIPLETS = Interchangeable((("a",), ("b",), ("c",)), ("links", ("triplets",)))


@pytest.fixture
def space():
    return ChoiceSpace([LINKS, A, B, C], ["c != 'skip' or links != 'twins'"], [TWINS, TRIPLETS])


class TestConditionalSymmetries(ChoiceSpaceConformance):
    @pytest.fixture
    def space(self):
        return ChoiceSpace([LINKS, A, B, C], ["c != 'skip' or links != 'twins'"], [TWINS, TRIPLETS])


def plain(row):
    """The canonical form, spelt out."""
    links, *ops = row
    if links == 1:
        ops = [*sorted(ops[:2]), ops[2]]
    return [links, *(sorted(ops) if links == 2 else ops)]


def test_each_form_has_the_representative_that_its_structure_asks_for(space):
    every = ChoiceSpace([LINKS, A, B, C]).enumerate_rows()
    np.testing.assert_array_equal(space.canonical_rows(every), [plain(r) for r in every.tolist()])
    kept = {tuple(plain(r)) for r in every.tolist() if not (r[0] == 1 and r[3] == 2)}
    assert {tuple(r) for r in space.enumerate_rows().tolist()} == kept
    assert space.size().value == len(kept) == 27 + 6 * 2 + 10


def test_it_survives_json_and_counts_in_the_fingerprint(space):
    again = from_json(space.to_json())
    assert again == space
    assert again.symmetries == space.symmetries
    everywhere = ChoiceSpace([LINKS, A, B, C], space.constraints, [Interchangeable(TWINS.groups)])
    assert everywhere.fingerprint != space.fingerprint


@pytest.mark.parametrize(
    ("symmetries", "says"),
    [
        ([Interchangeable((("a",), ("b",)), ("link", ("twins",)))], "links"),
        ([Interchangeable((("a",), ("b",)), ("links", ("twin",)))], "twins"),
        ([Interchangeable((("a",), ("b",)), ("a", ("conv",)))], "not swapped"),
        ([Interchangeable((("a",), ("b",)), ("links", ()))], "needs values"),
        ([TWINS, Interchangeable((("b",), ("c",)), ("links", ("twins", "chain")))], "two symmetries"),
        ([TWINS, Interchangeable((("b",), ("c",)))], "two symmetries"),
        ([Interchangeable((("a",), ("b",)), ("c", ("conv",))), Interchangeable((("c",), ("d",)))], "another one swaps"),
    ],
)
def test_what_cannot_be_sorted_is_refused(symmetries, says):
    with pytest.raises(UserError, match=says):
        ChoiceSpace([LINKS, A, B, C, Choice("d", C.options, "categorical")], symmetries=symmetries)
