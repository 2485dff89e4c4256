"""The laws of constrained domination, and the loop of NSGA-II on a cheap cost function."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from archsmith.space import Choice, ChoiceSpace
from archsmith.strategy.kit.batch_selection import spread
from archsmith.strategy.kit.variation import best_first, breed, constrained_ranks, evolve, tournament
from archsmith.testing.strategies import constrained_space

small = st.integers(0, 4).map(float)
populations = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        arrays(float, (n, 2), elements=small), arrays(float, n, elements=st.sampled_from([0.0, 0, 1, 2]))
    )
)


def dominates(i, j, costs, violations):
    """Deb's definition, word for word."""
    if violations[i] != violations[j]:
        return violations[i] < violations[j]
    if violations[i] > 0:
        return False
    return (costs[i] <= costs[j]).all() and (costs[i] < costs[j]).any()


@given(populations)
def test_ranks_are_those_of_the_definition(population):
    costs, violations = population
    left, expected, rank = set(range(len(costs))), np.zeros(len(costs), dtype=int), 0
    while left:
        front = {i for i in left if not any(dominates(j, i, costs, violations) for j in left)}
        for i in front:
            expected[i] = rank
        left -= front
        rank += 1
    assert constrained_ranks(costs, violations).tolist() == expected.tolist()


@given(populations, st.integers(1, 12))
def test_survivors_come_front_by_front(population, size):
    costs, violations = population
    order = best_first(costs, violations, size)
    ranks = constrained_ranks(costs, violations)
    assert len(set(order.tolist())) == len(order) == min(size, len(costs))
    assert ranks[order].tolist() == sorted(ranks)[: len(order)]


def test_the_ends_of_a_front_survive_a_cut_through_it():
    x = np.linspace(0, 1, 21)
    order = best_first(np.stack([x, 1 - x], axis=1), np.zeros(21), 5)
    assert {0, 20} <= set(order.tolist())


def test_the_better_half_wins_three_tournaments_of_four():
    winners = tournament(100, 20_000, np.random.default_rng(0))
    assert abs(np.mean(winners < 50) - 0.75) < 0.02


def test_without_crossover_children_are_mutants_of_their_parent():
    space = constrained_space()
    parents = space.sample_rows(6, np.random.default_rng(0))
    children, first = breed(space, parents, 50, crossover=0.0, mutation=0.0, rng=np.random.default_rng(1))
    assert ((children != parents[first]).sum(axis=1) <= 2).all()
    assert space.valid(children).all()


def test_evolution_finds_the_front_of_a_cheap_problem():
    """Ones against zeros in pairs of positions: the front is known, the space has 3^12 points."""
    space = ChoiceSpace([Choice(f"c{i}", (0, 1, 2)) for i in range(12)])

    def evaluate(rows):
        return np.stack([(rows - 1.0).clip(0).sum(1) + (rows == 1).sum(1), (2.0 - rows).sum(1)], axis=1), np.zeros(
            len(rows)
        )

    start = space.sample_rows(40, np.random.default_rng(0))
    rows, costs, _ = evolve(
        space, start, evaluate, population=40, generations=60, crossover=0.9, rng=np.random.default_rng(1)
    )
    assert len(np.unique(rows, axis=0)) == len(rows)
    # A two costs as much as a one and is better: the best are made of zeros and twos.
    found = {tuple(c) for c in costs[best_first(costs, np.zeros(len(costs)), 40)]}
    assert len({(float(k), 24.0 - 2 * k) for k in range(13)} - found) <= 2


def test_evolution_keeps_to_the_feasible_part():
    space = constrained_space()

    def evaluate(rows):
        return rows.sum(axis=1, keepdims=True).astype(float), np.maximum(0.0, 3 - rows[:, 0])

    _, costs, violations = evolve(
        space,
        space.sample_rows(4, np.random.default_rng(0)),
        evaluate,
        population=8,
        generations=20,
        crossover=0.9,
        rng=np.random.default_rng(1),
    )
    assert costs[violations == 0].min() == 12  # four widths at their last option, the kind at its first


class TestSpread:
    measured = np.array([[0.0, 1.0], [1.0, 0.0]])
    no = np.zeros(2)

    def test_picks_spread_over_the_gap(self):
        x = np.linspace(0.01, 0.99, 50)
        costs = np.stack([x, 0.9 * (1 - x)], axis=1)
        picked = spread(costs, np.zeros(50), self.measured, self.no, 3)
        assert len(picked) == 3
        assert min(abs(x[i] - x[j]) for i in picked for j in picked if i != j) > 0.15

    @given(arrays(float, (9, 3), elements=st.floats(0, 1, width=16)), st.integers(1, 4))
    def test_lazy_picks_are_the_greedy_ones(self, costs, n):
        """The best gain each time, computed afresh."""
        from archsmith.pareto import hypervolume

        measured = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
        picked = spread(costs, np.zeros(9), measured, np.zeros(3), n)
        base = measured
        for i in picked:
            volumes = [hypervolume(np.vstack([base, c]), [1.1] * 3) for c in costs]
            assert volumes[i] == pytest.approx(max(volumes), abs=1e-9)
            base = np.vstack([base, costs[i]])

    def test_what_adds_nothing_is_not_picked(self):
        assert spread(np.array([[1.0, 1.0], [0.5, 0.9]]), self.no, np.array([[0.0, 0.0], [1, 1]]), self.no, 2) == []

    def test_feasible_first_and_then_the_least_violation(self):
        costs = np.array([[0.0, 0.0], [0.5, 0.4]])
        assert spread(costs, np.array([0.1, 0.0]), self.measured, self.no, 2) == [1]
        assert spread(costs, np.array([0.3, 0.2]), self.measured, self.no, 2) == [1, 0]

    def test_one_objective_takes_the_lowest(self):
        assert spread(np.array([[3.0], [1.0], [2.0]]), np.zeros(3), np.array([[2.5]]), np.zeros(1), 2) == [1, 2]
