"""Random search is what its name says, and nothing more."""

import numpy as np

from archsmith.metric import Limit, Objective
from archsmith.strategy.random import RandomSearch
from archsmith.testing.strategies import run
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space


def searched(limits=(), objectives=TOY_OBJECTIVES, budget=300):
    strategy = RandomSearch(toy_space(), objectives, limits, rng=np.random.default_rng(0))
    return run(strategy, toy_evaluate, budget=budget, batch=10)


def test_options_of_a_choice_are_drawn_equally_often():
    drawn = [e.architecture["activation"] for e in searched()]
    assert 0.4 < drawn.count("relu") / len(drawn) < 0.6


def test_limits_and_objectives_change_nothing():
    plain = [e.architecture.key for e in searched(budget=30)]
    limited = searched([Limit("latency_ms", "<=", 0.2)], (Objective("latency_ms", "min"),), budget=30)
    assert [e.architecture.key for e in limited] == plain
