"""Rules looked up in tables say what they say one row at a time."""

import numpy as np
import pytest

from archsmith.benchmark.nasbench_graph import NASBenchGraph
from archsmith.space import Choice, ChoiceSpace, Interchangeable
from archsmith.space.rules import ROWS_FOR_A_TABLE, Rules


def conditional():
    """Conditions below conditions, a constraint on an inactive choice's activity, and pairs that can be swapped."""
    choices = [Choice("depth", (1, 2, 3)), Choice("kind", ("a", "b", "c"), "categorical")]
    choices += [Choice("second", (8, 16, 32), when=("depth", (2, 3))), Choice("third", (8, 16), when=("second", (16,)))]
    choices += [Choice(name, (1, 3, 5)) for name in ("left.k", "left.e", "right.k", "right.e")]
    rules = ["not active(third) or kind != 'c'", "second <= 16 or depth == 3"]
    twins = [Interchangeable((("left.k", "left.e"), ("right.k", "right.e")), ("kind", ("a", "b")))]
    return ChoiceSpace(choices, rules, twins)


def rules_of(space):
    return Rules(space.choices, space.forest, space.constraints, space.symmetries)


@pytest.mark.parametrize("space", [conditional(), NASBenchGraph().space], ids=["conditional", "graph"])
def test_many_rows_are_treated_as_single_ones(space):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, space.cardinalities, (2 * ROWS_FOR_A_TABLE, len(space.choices))).astype(np.int16)
    bulk, single = rules_of(space), rules_of(space)
    canonical = bulk.canonical(rows)
    np.testing.assert_array_equal(canonical, np.concatenate([single.canonical(row[None]) for row in rows]))
    broken = bulk.violated(canonical)
    np.testing.assert_array_equal(broken, np.concatenate([single.violated(row[None]) for row in canonical]))
    assert (broken > 0).any()
    assert (broken == 0).any()
    np.testing.assert_array_equal(bulk.canonical(rows[:3]), canonical[:3])  # from the table, since there is one
    assert not len(bulk.canonical(rows[:0]))


def test_rules_about_many_choices_need_no_table():
    names = [f"c{i}" for i in range(20)]
    space = ChoiceSpace([Choice(name, (1, 2, 3)) for name in names], [f"{' + '.join(names)} <= 40"])
    rows = np.random.default_rng(0).integers(0, 3, (2 * ROWS_FOR_A_TABLE, 20)).astype(np.int16)
    np.testing.assert_array_equal(space.violated(rows), (rows.sum(axis=1) + 20 > 40).astype(int))
