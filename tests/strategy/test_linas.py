"""What the predictor search claims: a fixed hypervolume with far fewer evaluations; and where it could go wrong."""

import time

import numpy as np
import pytest

from archsmith import method
from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption, UnknownName
from archsmith.evaluation import costs
from archsmith.metric import Limit, Objective
from archsmith.pareto import hypervolume
from archsmith.strategy.predictor.linas import Linas
from archsmith.testing.strategies import OBJECTIVES, evaluate_any, fail, run
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space


def made(limits=(), seed=0, objectives=TOY_OBJECTIVES, **options):
    return Linas(toy_space(), objectives, limits, rng=np.random.default_rng(seed), **options)


def volume(evaluations):
    return hypervolume(costs(evaluations, TOY_OBJECTIVES) / [10.0, 0.5], [-8.2, 1.6])


@pytest.mark.slow
def test_half_as_many_evaluations_beat_nsga2():
    found = {"linas": 0.0, "nsga2": 0.0}
    for name, budget in (("linas", 50), ("nsga2", 100)):
        for seed in range(2):
            rng = np.random.default_rng(seed)
            strategy = method.make("strategy", name, toy_space(), TOY_OBJECTIVES, (), rng=rng)
            found[name] += volume(run(strategy, toy_evaluate, budget=budget))
    assert found["linas"] > 1.01 * found["nsga2"]


def test_the_first_designs_are_the_same_everywhere():
    """Smallest, middle, largest; then random ones until ``initial``."""
    first = made().ask(3)
    assert first[0].architecture == toy_space().smallest()
    assert {first[2].architecture["resolution"], first[2].architecture["stage1.depth"]} == {32, 3}
    assert len(made().ask(30)) == 30


def test_most_measurements_keep_the_limits():
    limits = (Limit("latency_ms", "<=", 0.25), Limit("accuracy_top1", ">=", 87.0))
    done = run(made(limits), toy_evaluate, budget=40)
    assert np.mean([e.feasible(limits) for e in done[20:]]) > 0.6


def test_a_limit_on_what_is_no_objective():
    """Nine feasible designs of ten thousand are better than what is found, at most."""
    limit = Limit("latency_ms", "<=", 0.3)
    done = run(made([limit], objectives=[Objective("accuracy_top1", "max")]), toy_evaluate, budget=50)
    assert np.mean([e.feasible([limit]) for e in done[20:]]) > 0.6
    best = max(e["accuracy_top1"] for e in done if e.feasible([limit]))
    rng = np.random.default_rng(1)
    drawn = [toy_evaluate(Proposal(a)) for a in toy_space().sample(3000, rng)]
    assert np.mean([e.feasible([limit]) and e["accuracy_top1"] > best for e in drawn]) < 0.001


def test_it_nears_a_limit_that_nothing_meets():
    done = run(made([Limit("latency_ms", "<=", 0.01)]), toy_evaluate, budget=40)
    drawn = [toy_evaluate(Proposal(a))["latency_ms"] for a in toy_space().sample(2000, np.random.default_rng(1))]
    assert min(e["latency_ms"] for e in done) <= np.quantile(drawn, 0.002)


def test_it_learns_where_evaluations_fail():
    done = run(made(), lambda p: fail(p) if p.architecture["activation"] == "silu" else toy_evaluate(p), budget=40)
    assert np.mean([e.ok for e in done[20:]]) > 0.8


def test_two_successes_among_failures_do_not_start_the_fit():
    """Fewer evaluations than are needed: it goes on drawing."""
    strategy = made()
    outcomes = iter([toy_evaluate, toy_evaluate])

    def mostly_failing(proposal):
        return next(outcomes, fail)(proposal)

    done = run(strategy, mostly_failing, budget=30)
    assert sum(e.ok for e in done) == 2
    assert len({e.architecture.key for e in done}) == 30


def test_asking_for_more_than_picks_gives_as_many():
    strategy = made(initial=6, picks=2)
    strategy.tell([toy_evaluate(p) for p in strategy.ask(6)])
    assert len(strategy.ask(9)) == 9


def test_picks_told_meanwhile_are_not_asked():
    strategy = made(initial=6, picks=5)
    strategy.tell([toy_evaluate(p) for p in strategy.ask(6)])
    strategy.ask(1)
    queued = toy_space().architectures(np.stack(strategy._queue._rows))
    strategy.tell([toy_evaluate(Proposal(a)) for a in queued])
    assert not set(queued) & {p.architecture for p in strategy.ask(4)}


@pytest.mark.parametrize("predictor", method.names("predictor"))
def test_every_predictor_serves(predictor):
    done = run(made(predictor=predictor, initial=6, population=8, generations=2), toy_evaluate, budget=12, batch=6)
    assert len({e.architecture.key for e in done}) == 12


def test_a_proposal_costs_little():
    """Under 100 ms of CPU on average, for two objectives and a limit; measured generously."""
    strategy = made([Limit("latency_ms", "<=", 0.5)])
    strategy.tell([toy_evaluate(Proposal(a)) for a in toy_space().sample(150, np.random.default_rng(1))])
    started = time.process_time()
    assert len(run(strategy, toy_evaluate, budget=12)) == 12
    assert (time.process_time() - started) / 12 < 0.1


def test_four_objectives_take_less_than_half_a_second_each():
    strategy = made(objectives=OBJECTIVES)
    strategy.tell([evaluate_any(Proposal(a)) for a in toy_space().sample(60, np.random.default_rng(1))])
    started = time.process_time()
    assert len(run(strategy, evaluate_any, budget=8)) == 8
    assert (time.process_time() - started) / 8 < 0.5


@pytest.mark.parametrize(
    "options", [{"initial": 2}, {"picks": 0}, {"population": 3}, {"generations": 0}, {"optimism": -1}, {"caution": 99}]
)
def test_options_are_checked(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        made(**options)


def test_an_unknown_predictor_is_named():
    with pytest.raises(UnknownName, match="did you mean 'ridge'"):
        made(predictor="rigde")
