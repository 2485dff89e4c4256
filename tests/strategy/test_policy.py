"""What methods that learn from a reward share: ranks as rewards, and a small network that learns from them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsmith.predictor import mid_ranks
from archsmith.strategy.kit.editor import Editor, Step
from archsmith.strategy.kit.policy import draw_weights, rewards, rewards_at, scalarised


def drawn(seed, n=30, m=2):
    rng = np.random.default_rng(seed)
    costs, violations = rng.normal(size=(n, m)), np.maximum(rng.normal(size=n), 0)
    failed = rng.random(n) < 0.2
    costs[failed], violations[failed] = np.inf, np.inf
    return costs, violations, draw_weights(m, rng)


def test_mid_ranks_count_equal_values_half():
    assert mid_ranks(np.array([3.0, 1.0, 1.0, 2.0])).tolist() == [0.875, 0.25, 0.25, 0.625]


@given(seed=st.integers(0, 999), m=st.integers(1, 4))
def test_feasible_before_infeasible_before_failed(seed, m):
    costs, violations, weights = drawn(seed, m=m)
    reward = rewards(costs, violations, weights)
    groups = [reward[violations == 0], reward[(violations > 0) & np.isfinite(violations)], reward[np.isinf(violations)]]
    for better, worse in itertools.combinations(groups, 2):
        assert not (better.size and worse.size) or better.min() > worse.max()
    assert ((reward >= 0) & (reward < 1)).all()


@given(seed=st.integers(0, 999), m=st.integers(1, 3))
def test_a_dominating_design_has_the_larger_reward(seed, m):
    costs, violations, weights = drawn(seed, m=m)
    reward = rewards(costs, violations, weights)
    feasible = np.flatnonzero(violations == 0)
    for i in feasible:
        worse = [j for j in feasible if (costs[i] < costs[j]).all()]
        assert (reward[i] > reward[worse]).all()


def test_rewards_do_not_change_with_the_unit_or_a_monotone_scale():
    costs, violations, weights = drawn(3)
    np.testing.assert_allclose(rewards(costs, violations, weights), rewards(np.exp(3 * costs), violations, weights))


@given(seed=st.integers(0, 999))
def test_many_at_once_are_the_same_as_one_after_the_other(seed):
    costs, violations, _ = drawn(seed)
    rng = np.random.default_rng(seed)
    at = rng.integers(len(costs), size=7)
    weights = np.stack([draw_weights(2, rng) for _ in at])
    single = [rewards(costs, violations, w)[i] for w, i in zip(weights, at, strict=True)]
    np.testing.assert_allclose(rewards_at(costs, violations, weights, at), single, atol=1e-12)


def test_every_point_of_a_front_is_best_under_some_weights():
    front = np.array([[0.0, 9.0], [1.0, 5.0], [2.0, 4.9], [3.0, 1.0], [9.0, 0.0]])  # not convex
    best = {int(np.argmin(scalarised(front, np.array([w, 1 - w])))) for w in np.linspace(0, 1, 101)}
    assert best == set(range(5))


def test_the_editor_learns_which_edit_suits_which_state():
    rng = np.random.default_rng(0)
    editor = Editor(2, 3, hidden=8, rate=0.02, entropy=0.0, rng=rng)
    states, allowed = np.eye(2), np.ones((2, 3), dtype=bool)
    for _ in range(300):
        chances = editor.probabilities(states, allowed)
        actions = [int(rng.choice(3, p=p)) for p in chances]
        steps = [Step(states[i], allowed[i], actions[i]) for i in range(2)]
        editor.learn(steps, np.array([1.0 if actions[i] == i else -0.5 for i in range(2)]))
    assert (editor.probabilities(states, allowed)[[0, 1], [0, 1]] > 0.9).all()


def test_the_gradient_of_the_editor_is_that_of_its_gain():
    """A step of tiny size moves along the gradient of expected reward and entropy; compared with differences."""
    rng = np.random.default_rng(1)
    editor = Editor(3, 4, hidden=5, rate=0.0, entropy=0.3, rng=rng)
    states, allowed = rng.normal(size=(6, 3)), rng.random((6, 4)) < 0.8
    allowed[:, 0] = True
    steps = [Step(s, a, int(rng.choice(np.flatnonzero(a)))) for s, a in zip(states, allowed, strict=True)]
    advantages = rng.normal(size=6)

    def gain():
        p = editor.probabilities(states, allowed)
        chosen = np.log(p[np.arange(6), [s.action for s in steps]])
        return np.mean(advantages * chosen - 0.3 * (p * np.log(p + 1e-12)).sum(axis=1))

    seen = {}
    editor._climb = lambda gradients: seen.update(enumerate(gradients))
    editor.learn(steps, advantages)
    for number, weight in enumerate(editor._weights):
        where = tuple(0 for _ in weight.shape)
        before, base = weight[where], gain()
        weight[where] += 1e-6
        assert (gain() - base) / 1e-6 == pytest.approx(seen[number][where], abs=1e-4)
        weight[where] = before
