"""Rank tests: against the textbook where there is one, and against what must hold."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsmith.comparison.measures import quantile, spread
from archsmith.comparison.statistics import friedman, holm, wilcoxon_holm


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_corrects_upwards_and_keeps_the_order(p):
    corrected = holm(p)
    assert all(a <= b <= 1 for a, b in zip(p, corrected, strict=True))
    assert [corrected[i] for i in np.argsort(p, kind="stable")] == sorted(corrected)
    assert min(corrected) == pytest.approx(min(1, len(p) * min(p)))


def test_pairs_are_told_apart_only_where_one_is_ahead():
    rng = np.random.default_rng(0)
    ahead, even = -1 - rng.random(20), rng.permutation(np.repeat([-1.0, 1.0], 10)) * rng.random(20)
    pairs = {
        p.first: p
        for p in wilcoxon_holm({("ahead", "x"): ahead, ("even", "x"): even, ("same", "x"): [0.0] * 5, ("no", "x"): []})
    }
    assert pairs["ahead"].p_holm < 0.001
    assert (pairs["ahead"].wins, pairs["ahead"].losses, pairs["ahead"].ties) == (20, 0, 0)
    assert pairs["even"].p_holm > 0.05
    assert (pairs["same"].p_holm, pairs["same"].ties) == (1.0, 5)
    assert "no" not in pairs


def test_friedman_ranks_over_problems():
    scores = {"good": [1, 2, 1, 3, 2, 1], "fair": [2, 3, 2, 4, 3, 2], "bad": [9, 9, 9, 9, 9, 9]}
    _, p, ranks = friedman(scores)
    assert p < 0.01
    assert ranks == {"good": 1.0, "fair": 2.0, "bad": 3.0}
    assert friedman({"a": [1, 2], "b": [1, 2], "c": [1, 2]})[1:] == (1.0, {"a": 2.0, "b": 2.0, "c": 2.0})
    assert friedman({"a": [1, 2], "b": [2, 3]}) is None


@given(st.lists(st.floats(0, 1e6) | st.just(math.inf), min_size=1, max_size=9), st.sampled_from([0.25, 0.5, 0.75]))
def test_quantiles_of_what_was_never_reached(values, q):
    found = quantile(values, q)
    finite = np.minimum(values, 1e9)
    if math.isinf(found):
        assert float(np.quantile(finite, q)) > 1e6
    else:
        assert found == pytest.approx(float(np.quantile(finite, q)))


def test_spread_is_in_order():
    found = spread([4, 1, 3, 2, 100])
    assert (found["low"], found["median"], found["high"], found["mean"]) == (2, 3, 4, 22)
