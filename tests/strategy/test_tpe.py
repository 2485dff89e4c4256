"""What the peer TPE does beside the contract: it learns from what is told, and is silent."""

import logging
import sys

import numpy as np
import pytest

from archsmith import method
from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption, MissingExtra
from archsmith.evaluation import costs
from archsmith.metric import Limit
from archsmith.pareto import hypervolume
from archsmith.testing.strategies import run
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space


def made(objectives=TOY_OBJECTIVES, limits=(), seed=0, **options):
    pytest.importorskip("optuna")
    rng = np.random.default_rng(seed)
    return method.make("strategy", "tpe", toy_space(), objectives, limits, rng=rng, **options)


def volume(evaluations):
    return hypervolume(costs(evaluations, TOY_OBJECTIVES) / [10.0, 0.5], [-8.2, 1.6])


@pytest.mark.slow
def test_it_beats_random_search():
    found = np.mean([volume(run(made(seed=s), toy_evaluate, budget=60)) for s in range(2)])
    rng = np.random.default_rng(0)
    chance = [
        volume(
            run(method.make("strategy", "random", toy_space(), TOY_OBJECTIVES, (), rng=rng), toy_evaluate, budget=60)
        )
        for _ in range(3)
    ]
    assert found > 1.02 * np.mean(chance)


def test_what_is_told_moves_what_is_asked():
    space = toy_space()
    drawn = space.sample(60, np.random.default_rng(3))
    limits = [Limit("latency_ms", "<=", 0.25)]
    strategy = made(limits=limits)
    strategy.tell([toy_evaluate(Proposal(a)) for a in drawn])
    asked = [toy_evaluate(p) for p in strategy.ask(20)]
    before = np.mean([toy_evaluate(Proposal(a)).feasible(limits) for a in drawn])
    assert np.mean([e.feasible(limits) for e in asked]) > before + 0.3


def test_an_evaluation_told_again_takes_the_place_of_the_first():
    known = [toy_evaluate(Proposal(a)) for a in toy_space().sample(30, np.random.default_rng(3))]
    again, once = made(seed=5), made(seed=5)
    again.tell(known[:10])
    again.tell(known)
    once.tell(known)
    assert [p.architecture.key for p in again.ask(4)] == [p.architecture.key for p in once.ask(4)]


def test_it_says_nothing(caplog, capsys):
    optuna = pytest.importorskip("optuna")
    optuna.logging.enable_propagation()
    try:
        with caplog.at_level(logging.DEBUG):
            run(made(), toy_evaluate, budget=15)
    finally:
        optuna.logging.disable_propagation()
    assert not [r for r in caplog.records if r.name.startswith("optuna")]
    assert capsys.readouterr() == ("", "")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match="optuna"):
        method.make("strategy", "tpe", toy_space(), TOY_OBJECTIVES, (), rng=np.random.default_rng(0))


@pytest.mark.parametrize("options", [{"initial": 1}, {"candidates": 0}])
def test_options_are_checked(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        made(**options)
