"""What strategies remember, and which mistakes they refuse."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption
from archsmith.metric import Limit, Objective
from archsmith.strategy.kit.history import History, RowHistory
from archsmith.testing.strategies import constrained_space, evaluate_any, fail, tiny_space
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space


def proposals(n, seed=0):
    return [Proposal(a) for a in toy_space().sample(n, np.random.default_rng(seed))]


def test_rows_costs_and_violations_belong_together():
    history = RowHistory(toy_space(), TOY_OBJECTIVES, [Limit("latency_ms", "<=", 0.3)])
    told = [toy_evaluate(p) if i % 3 else fail(p) for i, p in enumerate(proposals(9))]
    history.tell(told[:4])
    history.tell(told[4:])
    assert history.keys == [e.architecture.key for e in told]
    assert [a.key for a in toy_space().architectures(history.rows)] == history.keys
    for e, costs, violation in zip(told, history.costs, history.violations, strict=True):
        if e.ok:
            assert costs.tolist() == [-e["accuracy_top1"], e["latency_ms"]]
            assert violation == max(0.0, e.values["latency_ms"].high - 0.3) / 0.3
        else:
            assert np.isinf([*costs, violation]).all()


def test_success_replaces_failure_and_never_the_other_way_round():
    history = RowHistory(toy_space(), TOY_OBJECTIVES, ())
    [p] = proposals(1)
    for result in (fail(p), toy_evaluate(p), fail(p)):
        history.tell([result])
    assert history.told[p.architecture.key].ok
    assert np.isfinite(history.costs).all()
    assert len(history.rows) == 1


def test_a_lower_fidelity_is_passed_over():
    history = RowHistory(toy_space(), TOY_OBJECTIVES, ())
    [p] = proposals(1)
    assert history.tell([toy_evaluate(replace(p, fidelity=MappingProxyType({"epochs": 1})))]) == []
    assert p.architecture not in history


def test_what_was_asked_is_open_until_it_is_told():
    history = History(toy_space(), TOY_OBJECTIVES, ())
    [p] = history.propose(history.fresh(1, np.random.default_rng(0)))
    assert p.architecture.key in history.open
    history.tell([fail(p)])
    assert not history.open
    assert p.architecture in history


def test_the_last_of_a_space_are_found():
    """Also where random draws nearly always hit what is known."""
    for space in (tiny_space(), constrained_space()):
        everything = space.architectures(space.enumerate_rows())
        history = History(space, [Objective("accuracy", "max")], ())
        history.tell([evaluate_any(Proposal(a)) for a in everything[1:]])
        assert history.fresh(3, np.random.default_rng(0)) == everything[:1]


def test_neighbours_are_searched_where_draws_are_in_vain(monkeypatch):
    space = toy_space()
    history = History(space, TOY_OBJECTIVES, ())
    [known] = space.sample(1, np.random.default_rng(0))
    history.tell([toy_evaluate(Proposal(known))])
    monkeypatch.setattr(type(space), "sample", lambda self, n, rng: [known] * n)
    found = history.fresh(4, np.random.default_rng(0))
    assert len(found) == 4
    assert set(found) <= set(space.neighbours(known))


@pytest.mark.parametrize(
    ("objectives", "limits", "message"),
    [
        ((), (), "at least one objective"),
        (TOY_OBJECTIVES, (Limit("latency_ms", "<=", 60, relative=True),), "latency_ms<=60%"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(objectives, limits, message):
    with pytest.raises(InvalidOption, match=message):
        History(toy_space(), objectives, limits)


def test_an_evaluation_without_an_objective_changes_nothing():
    history = History(toy_space(), [Objective("energy_mj", "min")], ())
    with pytest.raises(InvalidOption, match="energy_mj"):
        history.tell([fail(proposals(1)[0]), toy_evaluate(proposals(1)[0])])
    assert not history.told
