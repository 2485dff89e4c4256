"""What NSGA-II claims: it converges, keeps limits, breeds from the best of everything told."""

import numpy as np
import pytest

from archsmith import method
from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption
from archsmith.evaluation import costs
from archsmith.metric import Limit
from archsmith.pareto import hypervolume
from archsmith.strategy.evolution.nsga2 import Nsga2
from archsmith.testing.strategies import fail, run
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space


def made(limits=(), seed=0, **options):
    return Nsga2(toy_space(), TOY_OBJECTIVES, limits, rng=np.random.default_rng(seed), **options)


def volume(evaluations):
    return hypervolume(costs(evaluations, TOY_OBJECTIVES) / [10.0, 0.5], [-8.2, 1.6])


def test_it_beats_random_search():
    found = {"random": 0.0, "nsga2": 0.0}
    for name in found:
        for seed in range(4):
            strategy = method.make("strategy", name, toy_space(), TOY_OBJECTIVES, (), rng=np.random.default_rng(seed))
            found[name] += volume(run(strategy, toy_evaluate, budget=150, batch=10))
    assert found["nsga2"] > 1.02 * found["random"]


def test_a_limit_draws_it_into_the_feasible_part():
    limits = (Limit("latency_ms", "<=", 0.25), Limit("accuracy_top1", ">=", 87.0))
    done = run(made(limits), toy_evaluate, budget=120)
    assert (
        np.mean([e.feasible(limits) for e in done[-40:]]) > 2 * np.mean([e.feasible(limits) for e in done[:20]]) + 0.1
    )


def test_it_nears_a_limit_that_nothing_meets():
    limit = Limit("latency_ms", "<=", 0.01)
    done = run(made([limit]), toy_evaluate, budget=120)
    assert np.mean([e["latency_ms"] for e in done[-20:]]) < 0.7 * np.mean([e["latency_ms"] for e in done[:20]])


def test_children_name_a_parent_among_the_best_and_failures_have_none():
    strategy = made(population=4)
    done = run(strategy, lambda p: fail(p) if p.architecture["activation"] == "silu" else toy_evaluate(p), budget=40)
    ok = {e.architecture.key for e in done if e.ok}
    parents = {e.proposal.parent for e in done} - {None}
    assert parents
    assert parents <= ok


def test_it_breeds_from_what_it_was_told_unasked():
    strategy = made(population=5)
    strategy.tell([toy_evaluate(Proposal(a)) for a in toy_space().sample(30, np.random.default_rng(1))])
    assert all(p.parent for p in strategy.ask(5))


def test_the_first_population_is_random_and_the_next_is_not():
    strategy = made(population=6)
    first = strategy.ask(6)
    assert not any(p.parent for p in first)
    strategy.tell([toy_evaluate(p) for p in first])
    assert all(p.parent for p in strategy.ask(6))


@pytest.mark.parametrize(
    "options", [{"population": 1}, {"population": 2.5}, {"crossover": 1.1}, {"crossover": True}, {"mutation": -0.1}]
)
def test_options_are_checked(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        made(**options)


def test_an_unknown_option_is_named():
    with pytest.raises(InvalidOption, match="populations"):
        method.make("strategy", "nsga2", toy_space(), TOY_OBJECTIVES, rng=np.random.default_rng(0), populations=3)
