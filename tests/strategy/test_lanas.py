"""What LaNAS claims: it learns which part of the space is good, and samples there."""

import numpy as np
import pytest

from archsmith import method
from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption
from archsmith.metric import Limit
from archsmith.strategy.tree.lanas import LaNas
from archsmith.testing.strategies import run
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space

ACCURACY = TOY_OBJECTIVES[:1]


def made(objectives=ACCURACY, limits=(), seed=0, **options):
    return LaNas(toy_space(), objectives, limits, rng=np.random.default_rng(seed), **options)


def test_it_beats_random_search():
    found = {"random": 0.0, "lanas": 0.0}
    for name in found:
        for seed in range(3):
            strategy = method.make("strategy", name, toy_space(), ACCURACY, (), rng=np.random.default_rng(seed))
            found[name] += max(e["accuracy_top1"] for e in run(strategy, toy_evaluate, budget=70)) / 3
    assert found["lanas"] > found["random"] + 0.5


def test_designs_of_the_leaf_are_better_than_the_known_ones():
    strategy = made(exploration=0.0)
    known = [toy_evaluate(Proposal(a)) for a in toy_space().sample(100, np.random.default_rng(0))]
    strategy.tell(known)
    asked = [toy_evaluate(p)["accuracy_top1"] for p in strategy.ask(20)]
    assert min(asked) > np.median([e["accuracy_top1"] for e in known])


def test_exploration_leads_to_the_other_half():
    known = [toy_evaluate(Proposal(a)) for a in toy_space().sample(100, np.random.default_rng(0))]
    asked = {}
    for exploration in (0.0, 10.0):
        strategy = made(exploration=exploration)
        strategy.tell(known)
        asked[exploration] = [toy_evaluate(p)["accuracy_top1"] for p in strategy.ask(30)]
    assert np.mean(asked[10.0]) < np.mean(asked[0.0]) - 0.5


def test_it_keeps_to_a_limit():
    limits = (Limit("latency_ms", "<=", 0.25),)
    done = run(made(limits=limits), toy_evaluate, budget=70)
    feasible = [e.feasible(limits) for e in done]
    assert np.mean(feasible[40:]) > 2 * np.mean(feasible[:20]) + 0.1


@pytest.mark.parametrize(
    "options", [{"initial": 1}, {"height": 0}, {"leaf": 1}, {"exploration": -0.1}, {"candidates": 1}]
)
def test_options_are_checked(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        made(**options)
