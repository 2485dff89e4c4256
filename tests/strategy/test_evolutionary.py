"""What each evolutionary method claims over plain NSGA-II: age, rank, geometry, reference directions, volume."""

import sys

import numpy as np
import pytest

from archsmith import method
from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption, MissingExtra
from archsmith.evaluation import Evaluation, costs
from archsmith.metric import Limit, Objective
from archsmith.pareto import hypervolume
from archsmith.space import Choice, ChoiceSpace
from archsmith.strategy.evolution.age_moea import ordered
from archsmith.strategy.evolution.genetic_algorithm import linear_ranking
from archsmith.strategy.kit.age_geometry import survival_scores
from archsmith.strategy.policy.asng import Distribution, ranked_weights
from archsmith.testing.strategies import fail, run
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space
from archsmith.value import Value

MANY = ["regularized_evolution", "nsga3", "age_moea", "moead", "sms_emoa", "adaptive_mutation"]
ONE = ["genetic_algorithm", "asng"]
BORROWED = {"nsga3": "pymoo", "moead": "pymoo", "sms_emoa": "pymoo"}
ACCURACY = TOY_OBJECTIVES[:1]


def made(name, objectives=TOY_OBJECTIVES, limits=(), seed=0, **options):
    if name in BORROWED:
        pytest.importorskip(BORROWED[name])
    return method.make("strategy", name, toy_space(), objectives, limits, rng=np.random.default_rng(seed), **options)


def volume(evaluations):
    return hypervolume(costs(evaluations, TOY_OBJECTIVES) / [10.0, 0.5], [-8.2, 1.6])


@pytest.fixture(scope="module")
def by_chance():
    """What random search finds on average."""
    found = [run(made("random", seed=s), toy_evaluate, budget=120, batch=10) for s in range(4)]
    return np.mean([volume(f) for f in found]), np.mean([max(e["accuracy_top1"] for e in f) for f in found])


@pytest.mark.parametrize("name", MANY)
def test_it_beats_random_search(name, by_chance):
    found = [volume(run(made(name, seed=s), toy_evaluate, budget=120, batch=5)) for s in range(3)]
    assert np.mean(found) > 1.02 * by_chance[0]


@pytest.mark.parametrize("name", ONE)
def test_with_one_objective_it_beats_random_search(name, by_chance):
    found = [run(made(name, ACCURACY, seed=s), toy_evaluate, budget=120, batch=5) for s in range(3)]
    assert np.mean([max(e["accuracy_top1"] for e in f) for f in found]) > by_chance[1] + 0.3


@pytest.mark.parametrize("name", [*MANY, *ONE])
def test_a_limit_draws_it_into_the_feasible_part(name):
    limits = (Limit("latency_ms", "<=", 0.25),)
    done = run(made(name, ACCURACY if name in ONE else TOY_OBJECTIVES, limits), toy_evaluate, budget=100)
    assert np.mean([e.feasible(limits) for e in done[-40:]]) > np.mean([e.feasible(limits) for e in done[:20]]) + 0.2


@pytest.mark.parametrize("name", [*MANY, "genetic_algorithm"])
def test_children_name_a_parent_that_succeeded(name):
    strategy = made(name, ACCURACY if name in ONE else TOY_OBJECTIVES, population=6)
    done = run(strategy, lambda p: fail(p) if p.architecture["activation"] == "silu" else toy_evaluate(p), budget=40)
    parents = {e.proposal.parent for e in done} - {None}
    assert parents
    assert parents <= {e.architecture.key for e in done if e.ok}


@pytest.mark.parametrize("name", [*MANY, "genetic_algorithm"])
def test_it_breeds_from_what_it_was_told_unasked(name):
    strategy = made(name, ACCURACY if name in ONE else TOY_OBJECTIVES, population=5)
    strategy.tell([toy_evaluate(Proposal(a)) for a in toy_space().sample(30, np.random.default_rng(1))])
    assert all(p.parent for p in strategy.ask(5))


@pytest.mark.parametrize("name", ONE)
def test_several_objectives_are_refused_where_there_can_be_one(name):
    with pytest.raises(InvalidOption, match="one objective"):
        made(name)


@pytest.mark.parametrize("name", BORROWED)
def test_a_missing_package_is_named(name, monkeypatch):
    for module in [m for m in sys.modules if m.partition(".")[0] == "pymoo"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pymoo", None)
    with pytest.raises(MissingExtra, match="moo"):
        method.make("strategy", name, toy_space(), TOY_OBJECTIVES, (), rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {"population": 1}) for name in [*MANY, "genetic_algorithm"]),
        *((name, {"crossover": 2.0}) for name in ["nsga3", "age_moea", "moead", "sms_emoa", "genetic_algorithm"]),
        *((name, {"mutation": -1.0}) for name in ["nsga3", "age_moea", "moead", "sms_emoa", "genetic_algorithm"]),
        ("regularized_evolution", {"sample": 0}),
        ("moead", {"neighbours": 1}),
        ("moead", {"locality": 1.5}),
        ("genetic_algorithm", {"bias": 2.5}),
        ("genetic_algorithm", {"bias": 0.9}),
        ("asng", {"generation": 1}),
        ("asng", {"rate": 0.0}),
        ("adaptive_mutation", {"learning_rate": 1.1}),
        ("adaptive_mutation", {"discount": 1.0}),
        ("adaptive_mutation", {"greed": -1.0}),
        ("adaptive_mutation", {"further": 1.1}),
    ],
)
def test_options_are_checked(name, options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        made(name, ACCURACY if name in ONE else TOY_OBJECTIVES, **options)


def test_in_regularised_evolution_even_the_best_dies_of_age():
    strategy = made("regularized_evolution", ACCURACY, population=5, sample=5)
    done = [toy_evaluate(Proposal(a)) for a in toy_space().sample(40, np.random.default_rng(2))]
    done = sorted({e.architecture.key: e for e in done}.values(), key=lambda e: -e["accuracy_top1"])
    strategy.tell(done)
    assert {p.parent for p in strategy.ask(12)} <= {e.architecture.key for e in done[-5:]}


def test_regularised_evolution_changes_one_choice():
    strategy = made("regularized_evolution", population=5)
    done = {e.architecture.key: e.architecture for e in run(strategy, toy_evaluate, budget=5)}
    for asked in strategy.ask(20):
        assert asked.architecture.key in {a.key for a in near(done[asked.parent])}


def near(architecture):
    """Everything one choice away, whatever newly active choices hold."""
    space = toy_space()
    rows = space.enumerate_rows()
    [parent] = space.rows([architecture])
    both = space.active(rows) & space.active(parent[None])
    return space.architectures(rows[((rows != parent) & both).sum(axis=1) <= 1])


def test_linear_ranking_prefers_the_first():
    chances = linear_ranking(9, 1.8)
    assert chances[0] / chances[4] == pytest.approx(1.8)
    assert (np.diff(chances) < 0).all()
    assert linear_ranking(4, 1.0).tolist() == [0.25] * 4


def test_survival_scores_keep_corners_and_prefer_the_open():
    angle = np.array([0.0, 0.5, 0.52, 1.0]) * np.pi / 2
    circle = 1 - np.stack([np.cos(angle), np.sin(angle)], axis=1)
    scores = survival_scores(circle, np.zeros(4, dtype=int))
    assert np.isinf(scores[[0, 3]]).all()
    assert np.isfinite(scores[[1, 2]]).all()
    assert scores[1] < 0.6 * scores[2]  # of two that are close one is kept first, the other has a neighbour now


def test_a_first_front_comes_before_everything_behind_it():
    points = np.random.default_rng(0).random((40, 3))
    order = ordered(points)
    dominated = np.array([(points <= p).all(axis=1).sum() > 1 for p in points])
    assert (np.diff(dominated[order].astype(int)) >= 0).all()


def test_asng_moves_towards_the_better_and_never_gives_an_option_up():
    distribution = Distribution(np.array([3, 2]), 0.5)
    rows = np.array([[2, 1], [0, 0]], dtype=np.int16)
    for _ in range(60):
        distribution.move(rows, np.ones((2, 2), dtype=bool), np.array([1.0, -1.0]))
    assert distribution.probabilities[0].argmax() == 2
    assert distribution.probabilities[1, 1] > 0.8
    assert (distribution.probabilities[0] >= 1 / 12 - 1e-9).all()
    assert distribution.probabilities.sum(axis=1) == pytest.approx([1.0, 1.0])


def test_asng_shortens_its_steps_where_they_contradict_each_other():
    agreeing, contradicting = Distribution(np.array([4] * 6), 0.5), Distribution(np.array([4] * 6), 0.5)
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 4, (2, 6)).astype(np.int16)
    everywhere = np.ones((2, 6), dtype=bool)
    for step in range(30):
        agreeing.move(rows, everywhere, np.array([1.0, -1.0]))
        contradicting.move(rows, everywhere, np.array([1.0, -1.0]) * (-1) ** step)
    assert contradicting.step < 0.5 < agreeing.step


def test_weights_of_equals_are_equal():
    assert ranked_weights(np.zeros(8), np.zeros(8)).tolist() == [0.0] * 8
    infeasible = ranked_weights(np.array([1.0, 2.0, 3.0, 4.0]), np.array([5.0, 0.0, 0.0, 0.0]))
    assert infeasible.tolist() == [-1.0, 1.0, 0.0, 0.0]


def with_idle_choices():
    """Every fourth of forty choices matters."""
    return ChoiceSpace([Choice(f"c{i}", (0, 1, 2, 3), kind="categorical") for i in range(40)])


def distance(proposal):
    value = sum(abs((7 * i) % 4 - proposal.architecture[f"c{i}"]) for i in range(0, 40, 4))
    return Evaluation(proposal=proposal, values={"distance": Value(float(value), "computed")}, evaluator="distance")


def test_the_best_mutation_may_be_impossible_however_far_ahead_it_is():
    options = {"learning_rate": 1.0, "discount": 0.99, "greed": 50.0}
    strategy = made("adaptive_mutation", ACCURACY, **options)
    values, allowed = np.array([90.0, 0.0, 1.0]), np.array([False, True, True])
    assert {strategy._pick(values, allowed) for _ in range(20)} == {2}


@pytest.mark.slow
def test_mutations_that_learn_beat_fixed_rates_at_equal_evaluations():
    def ends(**options):
        found = []
        for seed in range(8):
            rng, objective = np.random.default_rng(seed), [Objective("distance", "min")]
            strategy = method.make("strategy", "adaptive_mutation", with_idle_choices(), objective, rng=rng, **options)
            found.append(min(e["distance"] for e in run(strategy, distance, budget=120)))
        return np.mean(found)

    assert ends() < 0.85 * ends(learning_rate=0.0)
