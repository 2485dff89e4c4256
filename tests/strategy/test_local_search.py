"""What local search claims: it climbs, stops at local optima, restarts, and follows weights."""

from itertools import pairwise

import numpy as np
import pytest

from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption
from archsmith.evaluation import costs
from archsmith.metric import Limit
from archsmith.pareto import is_non_dominated
from archsmith.strategy.local.local_search import LocalSearch
from archsmith.strategy.local.pareto_local_search import ParetoLocalSearch
from archsmith.testing.strategies import fail, run
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space

ACCURACY, LATENCY = TOY_OBJECTIVES[:1], TOY_OBJECTIVES[1:]


def made(method=LocalSearch, objectives=ACCURACY, limits=(), seed=0, **options):
    return method(toy_space(), objectives, limits, rng=np.random.default_rng(seed), **options)


def neighbours(architecture):
    return {a.key for a in toy_space().neighbours(architecture)}


def test_with_one_objective_it_reaches_the_optimum():
    space = toy_space()
    everything = [toy_evaluate(Proposal(a)) for a in space.architectures(space.enumerate_rows()[::7])]
    best = max(e["accuracy_top1"] for e in everything)
    assert max(e["accuracy_top1"] for e in run(made(), toy_evaluate, budget=120)) >= best


def test_it_asks_neighbours_of_the_best_until_all_are_known_and_then_starts_anew():
    strategy = made(objectives=LATENCY, initial=1)
    done = run(strategy, toy_evaluate, budget=1)
    here, starts = done[0], 0
    for _ in range(150):
        [asked] = strategy.ask(1)
        result = toy_evaluate(asked)
        if asked.parent is None:
            starts += 1
            assert neighbours(here.architecture) <= {e.architecture.key for e in done}
            here = result
        else:
            assert asked.architecture.key in neighbours(here.architecture)
            here = min(here, result, key=lambda e: e["latency_ms"])
        done.append(result)
        strategy.tell([result])
    assert starts >= 1


def test_a_start_that_fails_is_followed_by_another():
    strategy = made(initial=1)
    [first] = strategy.ask(1)
    strategy.tell([fail(first)])
    [second] = strategy.ask(1)
    assert second.parent is None
    strategy.tell([toy_evaluate(second)])
    assert strategy.ask(1)[0].parent == second.architecture.key


def test_several_objectives_are_weighted_anew_for_each_climb():
    done = run(made(objectives=TOY_OBJECTIVES), toy_evaluate, budget=250)
    parents = list(dict.fromkeys(e.proposal.parent for e in done if e.proposal.parent))
    by_key = {e.architecture.key: e for e in done}
    latencies = [by_key[p]["latency_ms"] for p in parents]
    drops = [b < a for a, b in pairwise(latencies)]
    assert any(drops)
    assert not all(drops)


@pytest.mark.parametrize("method", [LocalSearch, ParetoLocalSearch])
def test_limits_come_first(method):
    limits = [Limit("latency_ms", "<=", 0.25)]
    done = run(made(method, TOY_OBJECTIVES, limits, initial=5), toy_evaluate, budget=80)
    assert np.mean([e.feasible(limits) for e in done[40:]]) > 0.5


def test_pareto_local_search_asks_neighbours_of_the_front_only():
    strategy = made(ParetoLocalSearch, TOY_OBJECTIVES, initial=5)
    done = run(strategy, toy_evaluate, budget=5)
    for _ in range(60):
        [asked] = strategy.ask(1)
        front = [e for e, on in zip(done, is_non_dominated(costs(done, TOY_OBJECTIVES)), strict=True) if on]
        parents = {e.architecture.key: e.architecture for e in front}
        assert asked.parent in parents
        assert asked.architecture.key in neighbours(parents[asked.parent])
        done.append(toy_evaluate(asked))
        strategy.tell(done[-1:])


def test_pareto_local_search_goes_on_behind_a_front_that_is_explored():
    strategy = made(ParetoLocalSearch, LATENCY, initial=2)
    best = toy_evaluate(Proposal(toy_space().smallest()))
    near = [toy_evaluate(Proposal(a)) for a in toy_space().neighbours(best.architecture)]
    optimum = min([best, *near], key=lambda e: e["latency_ms"])
    strategy.tell([best, *near, *(toy_evaluate(Proposal(a)) for a in toy_space().neighbours(optimum.architecture))])
    [asked] = strategy.ask(1)
    assert asked.parent is not None
    assert asked.parent != optimum.architecture.key


@pytest.mark.parametrize("method", [LocalSearch, ParetoLocalSearch])
@pytest.mark.parametrize("initial", [0, 1.5, True])
def test_options_are_checked(method, initial):
    with pytest.raises(InvalidOption, match="initial"):
        made(method, initial=initial)
