"""Fronts and indicators against brute force and their laws."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from archsmith.errors import InvalidOption
from archsmith.pareto import (
    crowding_distance,
    hypervolume,
    hypervolume_contributions,
    igd_plus,
    is_non_dominated,
    non_dominated_rank,
    normalise,
)

SIDE = 6


@st.composite
def grids(draw, most=8, objectives=(1, 2, 3)):
    """Small whole-number costs, so that ties, duplicates and points outside the reference are common."""
    n, m = draw(st.integers(0, most)), draw(st.sampled_from(objectives))
    costs = draw(arrays(np.float64, (n, m), elements=st.integers(0, SIDE + 1)))
    failed = draw(arrays(np.bool_, n, elements=st.integers(0, 5).map(lambda i: i == 0)))
    costs[failed] = np.inf
    return costs


def dominates(a, b):
    return bool((a <= b).all() and (a < b).any())


def counted_volume(costs, side=SIDE):
    """Unit cells of the box below the reference that some point dominates."""
    m = costs.shape[1]
    cells = np.stack(np.meshgrid(*[np.arange(side)] * m, indexing="ij"), -1).reshape(-1, m)
    return float((costs[:, None] <= cells[None]).all(-1).any(0).sum()) if len(costs) else 0.0


@given(grids())
def test_front_is_what_nothing_dominates(costs):
    finite = np.isfinite(costs).all(1)
    expected = [bool(finite[i] and not any(dominates(b, a) for b in costs)) for i, a in enumerate(costs)]
    assert is_non_dominated(costs).tolist() == expected


@given(grids(), st.randoms())
def test_order_is_no_matter(costs, random):
    order = np.array(random.sample(range(len(costs)), len(costs)), dtype=int)
    np.testing.assert_array_equal(is_non_dominated(costs)[order], is_non_dominated(costs[order]))
    np.testing.assert_array_equal(non_dominated_rank(costs)[order], non_dominated_rank(costs[order]))
    reference = np.full(costs.shape[1], SIDE)
    assert hypervolume(costs, reference) == pytest.approx(hypervolume(costs[order], reference))
    np.testing.assert_allclose(
        hypervolume_contributions(costs, reference)[order].sum(),
        hypervolume_contributions(costs[order], reference).sum(),
    )
    distances = [sorted(zip(map(tuple, c), crowding_distance(c), strict=True)) for c in (costs, costs[order])]
    assert distances[0] == distances[1]


@given(grids())
def test_ranks_peel_fronts(costs):
    ranks = non_dominated_rank(costs)
    finite = np.isfinite(costs).all(1)
    for rank in range(ranks[finite].max() + 1 if finite.any() else 0):
        rest = finite & (ranks >= rank)
        np.testing.assert_array_equal(
            np.flatnonzero(rest)[is_non_dominated(costs[rest])], np.flatnonzero(ranks == rank)
        )
    if finite.any() and not finite.all():
        assert ranks[~finite].min() > ranks[finite].max()


@given(grids())
def test_hypervolume_counts_dominated_cells(costs):
    assert hypervolume(costs, SIDE) == pytest.approx(counted_volume(costs))


@given(grids())
def test_contribution_is_what_removal_costs(costs):
    total = hypervolume(costs, SIDE)
    contributions = hypervolume_contributions(costs, SIDE)
    expected = [total - counted_volume(np.delete(costs, i, axis=0)) for i in range(len(costs))]
    np.testing.assert_allclose(contributions, expected, atol=1e-9)
    assert contributions.sum() <= total + 1e-9


@given(grids(objectives=(2, 3, 4)), st.integers(0, 7))
def test_hypervolume_grows_with_points_and_ignores_repeats(costs, i):
    m = costs.shape[1]
    volumes = [hypervolume(costs[:k], np.full(m, SIDE)) for k in range(len(costs) + 1)]
    assert all(b >= a - 1e-9 for a, b in pairwise(volumes))
    twice = np.concatenate([costs, costs[i : i + 1]])
    assert hypervolume(twice, np.full(m, SIDE)) == pytest.approx(volumes[-1])


def test_points_outside_the_reference_add_nothing():
    assert hypervolume([[5.0, 0.0], [4.0, 4.0]], [4.0, 4.0]) == 0.0
    assert hypervolume_contributions([[1.0, 1.0], [5.0, 0.0]], [4.0, 4.0]).tolist() == [9.0, 0.0]


def test_crowding_distance_of_the_papers_picture():
    costs = [[0.0, 4.0], [1.0, 2.0], [2.0, 1.0], [4.0, 0.0], [2.0, 1.0], [np.inf, np.inf]]
    assert crowding_distance(costs).tolist() == [np.inf, 2 / 4 + 3 / 4, 3 / 4 + 2 / 4, np.inf, 0.0, 0.0]


def test_crowding_distance_of_one_point_and_of_none():
    assert crowding_distance([[1.0, 2.0], [1.0, 2.0]]).tolist() == [np.inf, 0.0]
    assert crowding_distance(np.zeros((0, 2))).tolist() == []


def test_igd_plus_measures_only_what_falls_short():
    front = [[0.0, 1.0], [1.0, 0.0]]
    assert igd_plus(front, front) == 0.0
    assert igd_plus([[0.0, 3.0], [1.0, 0.0]], front) == pytest.approx((1.0 + 0.0) / 2)
    assert igd_plus([[-1.0, -1.0]], front) == 0.0
    assert igd_plus([[np.inf, np.inf]], front) == np.inf


def test_normalise():
    costs = [[2.0, 5.0], [4.0, 5.0]]
    np.testing.assert_array_equal(normalise(costs, [2, 5], [4, 5]), [[0.0, 0.0], [1.0, 0.0]])


@pytest.mark.parametrize(
    "call",
    [
        lambda: is_non_dominated([1.0, 2.0]),
        lambda: is_non_dominated([[1.0, np.nan]]),
        lambda: hypervolume([[1.0, 2.0]], [1.0, 2.0, 3.0]),
        lambda: hypervolume([[1.0, 2.0]], [1.0, np.inf]),
        lambda: igd_plus([[1.0, 2.0]], np.zeros((0, 2))),
        lambda: igd_plus([[1.0, 2.0]], [[1.0, 2.0, 3.0]]),
        lambda: normalise([[1.0, 2.0]], [1.0, 2.0], [0.0, 3.0]),
    ],
)
def test_bad_input_is_named(call):
    with pytest.raises(InvalidOption):
        call()
