"""Moves of whole groups of alike choices."""

import numpy as np
import pytest

from archsmith.metric import Objective
from archsmith.space import Choice, ChoiceSpace
from archsmith.space.alike import alike_choices
from archsmith.strategy.kit.first_designs import even_designs
from archsmith.strategy.kit.group_moves import evened, exchanged
from archsmith.strategy.kit.history import RowHistory

WIDTHS = [Choice(f"w{i}", (8, 16, 32)) for i in range(3)]
PRECISIONS = [Choice(f"p{i}", ("fp32", "int8"), "categorical", owner="device") for i in range(3)]
JOINT = ChoiceSpace([*WIDTHS, *PRECISIONS], ["w0 + w1 + w2 < 96 or p0 == 'int8'"])


@pytest.fixture
def groups():
    return alike_choices(JOINT.choices)


def test_a_whole_group_moves_to_one_option(groups):
    moved = evened(JOINT, groups, np.array([[0, 1, 2, 0, 1, 0]], dtype=np.int16))
    expected = [[0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 1, 0]]  # all at the widest is forbidden with p0 in fp32
    expected += [[0, 1, 2, 0, 0, 0], [0, 1, 2, 1, 1, 1]]
    np.testing.assert_array_equal(moved, expected)


def test_designs_exchange_a_group_at_a_time(groups):
    rng = np.random.default_rng(0)
    a, b = (JOINT.sample_rows(200, rng) for _ in range(2))
    children = exchanged(JOINT, groups, a, b, rng)
    assert 150 < len(children) <= 200
    assert JOINT.valid(children).all()
    halves = {row.tobytes() for x, y in ((a, b), (b, a)) for row in np.concatenate([x[:, :3], y[:, 3:]], axis=1)}
    assert all(child.tobytes() in halves for child in children)


def test_without_groups_nothing_moves():
    space = ChoiceSpace([Choice("a", (1, 2)), Choice("b", (1, 2, 3))])
    rows = space.enumerate_rows()
    assert not len(evened(space, alike_choices(space.choices), rows))
    assert not len(exchanged(space, alike_choices(space.choices), rows, rows, np.random.default_rng(0)))


def test_first_designs_stand_at_the_corners_of_every_owner():
    history = RowHistory(ChoiceSpace([*WIDTHS, *PRECISIONS]), [Objective("accuracy", "max")], ())
    corners = [[w] * 3 + [p] * 3 for w in range(3) for p in range(2)]
    np.testing.assert_array_equal(even_designs(history, 12), corners)
