"""Predicted costs and violations: monotone, pessimistic where asked for, and about failures too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from archsmith.architecture import Proposal
from archsmith.encoding.one_hot import OneHot
from archsmith.metric import Limit
from archsmith.predictor.ridge import Ridge
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.predictions import Predictions
from archsmith.strategy.kit.scales import VIEWS, warped
from archsmith.testing.strategies import fail
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space

SPACE = toy_space()


def proposals(n, seed):
    return [Proposal(a) for a in SPACE.sample(n, np.random.default_rng(seed))]


def made(limits=(), told=None, optimism=0.0, caution=0.0):
    history = RowHistory(SPACE, TOY_OBJECTIVES, limits)
    history.tell(told or [toy_evaluate(p) for p in proposals(80, 0)])
    return Predictions.fitted(history, OneHot(SPACE), Ridge, view="shape", optimism=optimism, caution=caution)


def unseen():
    return SPACE.sample_rows(300, np.random.default_rng(1))


@given(
    arrays(float, 9, elements=st.integers(-50, 50).map(float)), st.sampled_from(VIEWS), st.sampled_from(["min", "max"])
)
def test_warping_keeps_the_order_and_the_ties(costs, view, goal):
    scaled = warped(costs, goal, view)
    assert np.isfinite(scaled).all()
    assert np.unique(costs, return_inverse=True)[1].tolist() == np.unique(scaled, return_inverse=True)[1].tolist()


def test_predictions_follow_the_truth():
    rows = unseen()
    costs, violations = made().predict(rows)
    truth = [toy_evaluate(Proposal(a)) for a in SPACE.architectures(rows)]
    for j, objective in enumerate(TOY_OBJECTIVES):
        assert np.corrcoef(costs[:, j], [objective.cost(e[objective.metric]) for e in truth])[0, 1] > 0.85
    assert not violations.any()


def test_optimism_lowers_every_cost():
    plain, hopeful = (made(optimism=k).predict(unseen())[0] for k in (0.0, 2.0))
    assert (hopeful < plain).all()


@pytest.mark.parametrize("limit", [Limit("latency_ms", "<=", 0.3), Limit("accuracy_top1", ">=", 87.0)])
def test_violations_follow_the_truth_and_grow_with_caution(limit):
    rows = unseen()
    violations = made([limit]).predict(rows)[1]
    broken = [not toy_evaluate(Proposal(a)).feasible([limit]) for a in SPACE.architectures(rows)]
    assert np.mean((violations > 0) == broken) > 0.85
    cautious = made([limit], caution=2.0).predict(rows)[1]
    assert (cautious >= violations).all()
    assert (cautious > 0).sum() > (violations > 0).sum()


def test_a_limit_on_a_metric_that_was_not_measured_is_left_to_the_measurements():
    predictions = made([Limit("unheard_of", "<=", 1.0)])
    assert not predictions.predict(unseen())[1].any()
    assert np.isinf(predictions.violations).all()


def test_where_all_failed_a_failure_is_expected():
    told = [fail(p) if p.architecture["activation"] == "silu" else toy_evaluate(p) for p in proposals(60, 0)]
    rows = unseen()
    violations = made(told=told).predict(rows)[1]
    silu = np.array([a["activation"] == "silu" for a in SPACE.architectures(rows)])
    assert ((violations > 0) == silu).all()
