"""Counts of options over alike choices."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from archsmith.encoding.option_counts import OptionCounts
from archsmith.space import Choice, ChoiceSpace
from archsmith.space.alike import alike_choices
from archsmith.testing.random_spaces import choice_spaces

OPS = ("conv", "pool", "skip")
SPACE = ChoiceSpace(
    [
        Choice("depth", (1, 2, 3)),
        Choice("a.width", (8, 16, 32)),
        Choice("b.width", (10, 20, 40), when=("depth", (2, 3))),
        *[Choice(f"op{i}", OPS, "categorical") for i in range(3)],
        *[Choice(f"{n}.precision", ("fp32", "int8"), "categorical", owner="device") for n in "ab"],
        Choice("schedule", ("conv", "pool", "skip"), "categorical", owner="training"),
    ]
)


def test_alike_choices_say_the_same_of_different_parts():
    groups = [[SPACE.names[j] for j in columns] for columns in alike_choices(SPACE.choices)]
    assert groups == [["a.width", "b.width"], ["op0", "op1", "op2"], ["a.precision", "b.precision"]]
    assert alike_choices([Choice("one", (1, 2)), Choice("two", (1, 2, 3))]) == []


def test_each_count_says_how_often_an_option_is_taken():
    encoding = OptionCounts(SPACE)
    rows = SPACE.enumerate_rows()
    column = {name: k for k, name in enumerate(encoding.names)}
    vectors = encoding.encode(rows)
    for option, text in enumerate(OPS):
        at = vectors[:, column[f"count(op0[{option}])"]]
        taken = (rows[:, 3:6] == option).sum(axis=1)
        np.testing.assert_allclose(at * np.sqrt(2), taken, rtol=1e-6, err_msg=text)
    off = vectors[:, column["count(b.width[2])"]]
    assert set(off[rows[:, 0] == 0] > 0) == {True}
    assert set(off[rows[:, 0] > 0] > 0) == {False}


@given(choice_spaces(), st.integers(0, 2**32 - 1))
def test_swapping_alike_choices_changes_nothing_where_nothing_is_conditional(space, seed):
    rng = np.random.default_rng(seed)
    rows = space.sample_rows(5, rng)
    vectors = OptionCounts(space).encode(rows)
    assert vectors.shape == (5, len(OptionCounts(space).names))
    free = [columns for columns in alike_choices(space.choices) if all(space.choices[j].when is None for j in columns)]
    for columns in free:
        inside = {space.choices[j].name for j in columns}
        if any(c.when is not None and c.when[0] in inside for c in space.choices):
            continue
        swapped = rows.copy()
        swapped[:, columns] = rows[:, rng.permutation(columns)]
        plain = ChoiceSpace(space.choices)
        np.testing.assert_allclose(OptionCounts(plain).encode(swapped), OptionCounts(plain).encode(rows), rtol=1e-6)
