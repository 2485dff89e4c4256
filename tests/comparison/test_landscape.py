"""Scales, fronts and curves against slow and obvious ways to compute them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from archsmith.comparison.landscape import Landscape, evaluations_to, hypervolume_curve
from archsmith.errors import InvalidOption
from archsmith.metric import Objective
from archsmith.pareto import hypervolume, igd_plus, is_non_dominated

ERROR_AND_TIME = (Objective("accuracy", "max"), Objective("time", "min"))


def points(m):
    coarse = st.integers(0, 6).map(lambda i: i / 5)  # ties and points beyond the reference are common
    return st.integers(1, 25).flatmap(lambda n: arrays(np.float64, (n, m), elements=coarse))


@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_curve_is_the_hypervolume_of_each_prefix(m):
    @given(points(m))
    def holds(costs):
        slow = [hypervolume(costs[: i + 1], np.full(m, 1.1)) for i in range(len(costs))]
        np.testing.assert_allclose(hypervolume_curve(costs, np.full(m, 1.1)), slow, atol=1e-12)

    holds()


@given(points(2))
def test_shares_and_distances_end_where_everything_is_known(costs):
    land = Landscape.of(costs * np.array([-1, 1]), ERROR_AND_TIME)
    scaled = land.costs(costs * np.array([-1, 1]))
    assert 0 <= scaled.min() <= scaled.max() <= 1
    shares, distances = land.shares(scaled), land.distances(scaled)
    assert (np.diff(shares) >= -1e-12).all()
    assert shares[-1] == pytest.approx(1)
    assert distances[-1] == pytest.approx(0)
    np.testing.assert_allclose(distances[0], igd_plus(scaled[:1], land.front), atol=1e-12)
    box = land.box_shares(scaled)
    if box is not None:
        assert box[-1] == pytest.approx(1)


def test_wide_costs_are_logarithmic_and_only_they():
    values = np.array([[10.0, 1.0], [500.0, 100.0], [20.0, 10.0]])
    land = Landscape.of(values, ERROR_AND_TIME)
    assert land.logarithmic.tolist() == [False, True]  # accuracy is no cost, however wide
    assert land.costs(values)[:, 1].tolist() == pytest.approx([0, 1, 0.5])
    assert land.costs(values)[:, 0].tolist() == pytest.approx([1, 0, 48 / 49])
    narrow = Landscape.of(values[:, [0, 0]], ERROR_AND_TIME)
    assert narrow.logarithmic.tolist() == [False, True]
    assert not Landscape.of(
        np.array([[1.0, 1.0], [2.0, 10.0]]), ERROR_AND_TIME
    ).logarithmic.any()  # ten times is not beyond


def test_failed_evaluations_count_as_worst():
    values = np.array([[50.0, 1.0], [90.0, 8.0], [70.0, np.nan]])
    land = Landscape.of(values, ERROR_AND_TIME)
    assert land.costs(values)[2].tolist() == [1.0, 1.0]
    assert land.best.tolist() == [90.0, 1.0]
    assert land.mean.tolist() == [70.0, 4.5]
    alone = land.shares(land.costs(values[2:]))
    assert 0 < alone[0] < 0.05
    with pytest.raises(InvalidOption, match="no architecture has all of accuracy, time"):
        Landscape.of(values[2:], ERROR_AND_TIME)


def test_the_box_is_that_of_the_front():
    """A very bad architecture stretches the plain axes until everything looks good; the box does not see it."""
    front = np.array([[90.0, 5.0], [80.0, 3.0], [70.0, 1.0]])
    few = np.concatenate([front[[0, 2]], [[79.0, 3.5]]])
    for worst in (60.0, -1000.0):
        land = Landscape.of(np.concatenate([front, [[worst, 6.0]]]), ERROR_AND_TIME)
        assert land.box_shares(land.costs(few))[-1] == pytest.approx(0.45 * 0.375 / 0.25)
    assert land.shares(land.costs(few))[-1] > 0.99
    assert Landscape.of(front[:1], ERROR_AND_TIME).box_shares(np.zeros((1, 2))) is None


def test_evaluations_to_a_level():
    curve = np.array([0.2, 0.5, 0.5, 1 - 1e-12])
    assert [evaluations_to(curve, level) for level in (0.1, 0.5, 0.6, 1.0)] == [1, 2, 4, 4]
    assert evaluations_to(curve, 1.1) is None


def test_a_thousand_evaluations_end_with_the_whole_volume():
    rng = np.random.default_rng(0)
    values = rng.random((1000, 2)) * np.array([-1, 1]) + np.array([1, 0.01])
    land = Landscape.of(values, ERROR_AND_TIME)
    assert is_non_dominated(land.front).all()
    shares = land.shares(land.costs(values))
    some = [9, 99, 499, 999]
    slow = [hypervolume(land.costs(values)[: i + 1], np.full(2, 1.1)) / land.volume for i in some]
    np.testing.assert_allclose(shares[some], slow)
    assert shares[-1] == pytest.approx(1)
