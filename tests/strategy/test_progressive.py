"""The predictor searches: three steps, weak predictors in sequence, progressive search; and what they read."""

import numpy as np
import pytest

from archsmith import method
from archsmith.architecture import Proposal
from archsmith.encoding.known_values import KnownValues
from archsmith.encoding.one_hot import OneHot
from archsmith.errors import InvalidOption, UnknownName
from archsmith.evaluation import costs
from archsmith.metric import Limit
from archsmith.predictor.ridge import Ridge
from archsmith.space import Choice, ChoiceSpace
from archsmith.strategy.kit.inputs import Inputs, maker
from archsmith.strategy.predictor.epnas import Epnas
from archsmith.strategy.predictor.linas import Linas
from archsmith.strategy.predictor.neural_predictor import NeuralPredictor
from archsmith.strategy.predictor.weaknas import Weaknas
from archsmith.testing.strategies import run
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space

ONE = TOY_OBJECTIVES[:1]


def made(strategy, objectives=ONE, limits=(), seed=0, **options):
    return strategy(toy_space(), objectives, limits, rng=np.random.default_rng(seed), **options)


def best(evaluations):
    return -costs(evaluations, ONE).min()


def told(strategy, n, seed=1):
    strategy.tell([toy_evaluate(Proposal(a)) for a in toy_space().sample(n, np.random.default_rng(seed))])
    return strategy


@pytest.mark.parametrize("strategy", [NeuralPredictor, Weaknas, Epnas])
def test_sixty_evaluations_beat_three_hundred_random_ones(strategy):
    drawn = [toy_evaluate(Proposal(a)) for a in toy_space().sample(300, np.random.default_rng(5))]
    options = {} if strategy is Epnas else {"predictor": "gaussian_process"}
    assert best(run(made(strategy, **options), toy_evaluate, budget=60)) > best(drawn)


@pytest.mark.parametrize("name", ["neural_predictor", "weaknas"])
def test_the_default_network_finds_what_random_search_does_not(name):
    pytest.importorskip("torch")
    found = {}
    for each in (name, "random"):
        strategy = method.make("strategy", each, toy_space(), ONE, (), rng=np.random.default_rng(0))
        found[each] = best(run(strategy, toy_evaluate, budget=60))
    assert found[name] > found["random"]


def base_rate(limit):
    """The share of random designs that keep it."""
    drawn = toy_space().sample(500, np.random.default_rng(6))
    return np.mean([toy_evaluate(Proposal(a)).feasible((limit,)) for a in drawn])


@pytest.mark.parametrize("strategy", [NeuralPredictor, Weaknas])
def test_picks_keep_a_limit_far_more_often_than_random_draws(strategy):
    limit = Limit("latency_ms", "<=", 0.3)
    done = run(made(strategy, limits=(limit,), predictor="gaussian_process", initial=20), toy_evaluate, budget=50)
    assert np.mean([e.feasible((limit,)) for e in done[20:]]) > 1.5 * base_rate(limit)


def test_the_best_of_the_pool_are_measured_before_the_next_fit():
    strategy = told(made(NeuralPredictor, predictor="ridge", initial=20, top=7), 20)
    first = [p.architecture for p in strategy.ask(3)]
    strategy.tell([toy_evaluate(Proposal(a)) for a in toy_space().sample(30, np.random.default_rng(8))])
    rest = [p.architecture for p in strategy.ask(4)]
    again = told(made(NeuralPredictor, predictor="ridge", initial=20, top=7), 20)
    assert [p.architecture for p in again.ask(7)] == first + rest


def test_the_list_shrinks_with_what_was_told():
    strategy = told(made(Weaknas, predictor="ridge", initial=10, picks=5, pool=1000, top=0.1, shrink=0.5), 10)
    assert strategy._length() == 100
    assert told(strategy, 10, seed=2)._length() == 25
    drawn = strategy._drawn(5)
    assert len(drawn) == 5


def pairwise_difference(temperature, seed):
    """Choices in which two picks of one stage differ on average, after equal histories."""
    strategy = told(made(Epnas, seed=seed, temperature=temperature, picks=10, predictor="ridge"), 40)
    strategy._stage, strategy._parents = 3, toy_space().sample_rows(20, np.random.default_rng(2))
    rows = np.stack(strategy._next_picks())
    return (rows[:, None] != rows[None]).sum(axis=2).sum() / (len(rows) * (len(rows) - 1))


def test_softened_greed_keeps_picks_apart():
    greedy, soft = (np.mean([pairwise_difference(t, seed) for seed in range(4)]) for t in (0.0, 1.0))
    assert soft > 1.15 * greedy


def test_without_temperature_the_best_expansions_are_taken():
    strategy = told(made(Epnas, temperature=0, picks=4, predictor="ridge"), 60)
    rows = np.unique(toy_space().sample_rows(50, np.random.default_rng(3)), axis=0)
    predicted = strategy._predicted.fitted().predict(rows)[0][:, 0]
    np.testing.assert_array_equal(strategy._drawn(rows, 0.0), rows[np.argsort(predicted, kind="stable")[:4]])


def test_designs_grow_from_stage_to_stage():
    space = ChoiceSpace([Choice(f"c{i}", (0, 1, 2)) for i in range(8)])
    strategy = Epnas(space, ONE, rng=np.random.default_rng(0), stages=4, picks=5)
    sizes = [(space.rows([p.architecture for p in strategy.ask(n)]) > 0).sum(axis=1) for n in (1, 5, 5, 5, 5)]
    assert [set(s.tolist()) for s in sizes] == [{0}, {2}, {4}, {6}, {8}]


@pytest.mark.parametrize("inner", ["random", "regularized_evolution"])
def test_linas_with_other_strategies_inside(inner):
    """They need no measurement of their own: as good as NSGA-II inside, up to a little, and far beyond random draws."""
    found = {}
    for each in ("nsga2", inner):
        strategy = made(Linas, inner=each, population=30, generations=6)
        found[each] = best(run(strategy, toy_evaluate, budget=30))
    drawn = [toy_evaluate(Proposal(a)) for a in toy_space().sample(60, np.random.default_rng(5))]
    assert found[inner] > max(best(drawn), found["nsga2"] - 0.7)


def test_limits_reach_the_strategy_inside():
    limit = Limit("latency_ms", "<=", 0.3)
    done = run(made(Linas, limits=(limit,), inner="random", population=30, generations=6), toy_evaluate, budget=36)
    assert np.mean([e.feasible((limit,)) for e in done[16:]]) > 1.5 * base_rate(limit)


def test_an_unknown_strategy_inside_is_named():
    with pytest.raises(UnknownName, match="random"):
        made(Linas, inner="randon")


def test_a_strategy_inside_must_handle_the_objectives():
    limited = [n for n in method.names("strategy") if method.load("strategy", n).handles.objectives == 1]
    for name in limited:
        with pytest.raises(InvalidOption, match="inner"):
            made(Linas, objectives=TOY_OBJECTIVES, inner=name)


def free_values(space, share=1.0):
    """Latencies, known beforehand, of some of the space; in an awkward unit."""
    rows = space.enumerate_rows()
    kept = np.random.default_rng(4).random(len(rows)) < share
    found = [1e6 * toy_evaluate(Proposal(a))["latency_ms"] for a in space.architectures(rows[kept])]
    return KnownValues(space, columns={"latency": np.array(found)}, rows=rows[kept])


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_free_values_are_read_beside_the_encoding(share):
    """Also with holes: what is predicted from a few evaluations follows what is known of the rest."""
    space, free = toy_space(), free_values(toy_space(), share)
    rows = space.sample_rows(300, np.random.default_rng(0))
    truth = np.array([toy_evaluate(Proposal(a))["latency_ms"] for a in space.architectures(rows)])
    errors = {}
    for each in (None, free):
        inputs = Inputs(OneHot(space), each, rows[:25])
        predictor = Ridge()
        predictor.fit(inputs(rows[:25]), truth[:25])
        assert np.isfinite(inputs(rows)).all()
        errors[each] = np.mean((predictor.predict(inputs(rows[25:]))[0] - truth[25:]) ** 2)
    assert errors[free] < 0.8 * errors[None]


def test_an_encoding_and_free_values_serve_every_predictor_search():
    space = toy_space()
    free = free_values(space, 0.5)
    for strategy in (Linas, NeuralPredictor, Weaknas, Epnas):
        options = {"predictor": Ridge(), "encoding": "ordinal", "free": free}
        assert len(run(made(strategy, **options), toy_evaluate, budget=36)) == 36


def test_an_instance_serves_as_a_copy():
    predictor = Ridge()
    other = maker(predictor)()
    other.fit(np.eye(3), np.arange(3.0))
    assert not hasattr(predictor, "_weights")
    with pytest.raises(InvalidOption, match="predictor"):
        maker(3)


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        (NeuralPredictor, {"initial": 2}),
        (NeuralPredictor, {"top": 0}),
        (Weaknas, {"top": 0}),
        (Weaknas, {"shrink": 1.5}),
        (Weaknas, {"picks": 0}),
        (Epnas, {"temperature": -1}),
        (Epnas, {"stages": 0}),
    ],
)
def test_options_are_checked(strategy, options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        made(strategy, **options)
