"""Messages about changed settings name every difference and nothing else."""

import json

from hypothesis import given
from hypothesis import strategies as st

from archsmith.changes import SHOWN_CHARACTERS, differences

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(st.sampled_from("abc"), plain, max_size=3)


@given(records, records)
def test_nothing_is_named_exactly_when_nothing_differs(then, now):
    assert (differences(then, now) == []) == (then == now)


@given(records)
def test_what_was_stored_equals_what_is_given(now):
    assert differences(json.loads(json.dumps(now)), now) == []


def test_tuples_are_the_lists_that_they_are_stored_as():
    assert differences({"widths": [1, 2]}, {"widths": (1, 2)}) == []


def test_nested_and_long_values():
    found = differences({"a": {"b": 1, "c": 2}, "d": "x"}, {"a": {"b": 1, "c": 3}, "d": "y" * 500, "e": None})
    assert found[0] == "a.c: 2 -> 3"
    assert "(502 characters)" in found[1]
    assert len(found[1]) < 3 * SHOWN_CHARACTERS
    assert found[2] == "e: null -> null"
