"""The default strategy: what it learns from, what it does where nothing can be learnt, and what it costs."""

import itertools

import numpy as np
import pytest

from archsmith.architecture import Proposal
from archsmith.encoding.known_values import KnownValues
from archsmith.encoding.thermometer import Thermometer
from archsmith.errors import InvalidOption
from archsmith.evaluation import Evaluation
from archsmith.metric import Limit, Objective
from archsmith.pareto import hypervolume, is_non_dominated
from archsmith.predictor.choice_gaussian_process import ChoiceGaussianProcess
from archsmith.predictor.ridge import Ridge
from archsmith.space import Choice, ChoiceSpace, Node, Wiring
from archsmith.strategy.auto import Auto
from archsmith.strategy.evolution.nsga2 import Nsga2
from archsmith.strategy.kit.choice_models import ChoiceModels
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.hypervolume_improvement import ExpectedImprovement
from archsmith.strategy.kit.observations import learnt_from
from archsmith.strategy.kit.trend import Counts, Trend, best_line
from archsmith.strategy.random import RandomSearch
from archsmith.testing.strategies import OBJECTIVES, run
from archsmith.value import Value

ERROR, PAIR = OBJECTIVES[0], OBJECTIVES[:2]


@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_expected_improvement_is_that_of_many_draws(m):
    rng = np.random.default_rng(m)
    front = rng.random((12, m))
    reference = np.full(m, 1.1)
    mean, std = rng.random((5, m)), 0.05 + 0.2 * rng.random((5, m))
    exact = ExpectedImprovement(front, reference)(mean, std)
    now = hypervolume(front, reference)
    draws = mean[:, None] + std[:, None] * rng.normal(size=(5, 4000, m))
    for k in range(5):
        gains = [
            hypervolume(np.vstack([front, d]), reference) - now if (d < reference).all() else 0.0 for d in draws[k]
        ]
        assert exact[k] == pytest.approx(np.mean(gains), abs=4 * np.std(gains) / np.sqrt(4000) + 1e-9)


def test_points_outside_the_reference_and_repeated_ones_change_nothing():
    rng = np.random.default_rng(0)
    front, mean, std = rng.random((8, 3)), rng.random((4, 3)), np.full((4, 3), 0.2)
    reference = np.full(3, 1.1)
    more = np.vstack([front, front[:2], [[2.0, 0.0, 0.0]], front + 0.01])
    np.testing.assert_allclose(
        ExpectedImprovement(more, reference)(mean, std), ExpectedImprovement(front, reference)(mean, std)
    )
    empty = ExpectedImprovement(front[:0], reference)(mean, std)
    assert (empty >= ExpectedImprovement(front, reference)(mean, std)).all()


def layered(layers=8):
    """Chains of three operators; what is told of them adds up, and accuracy saturates in it."""
    names = [f"layer{i}" for i in range(layers)]
    nodes = [Node(n, (n,), ("input",) if i == 0 else (names[i - 1],), identity=("skip",)) for i, n in enumerate(names)]
    return ChoiceSpace([Choice(n, ("skip", "small", "large"), "categorical") for n in names], wiring=Wiring(nodes))


def evaluate_layers(proposal):
    ops = list(proposal.architecture.to_dict().values())
    cost = sum({"skip": 0.1, "small": 1.0, "large": 3.0}[o] * (1 + i / 8) for i, o in enumerate(ops))
    worth = sum({"skip": 0.0, "small": 2.0, "large": 3.0}[o] * (1 + (i * 5 % 8) / 4) for i, o in enumerate(ops))
    values = {"accuracy": 90 * (1 - np.exp(-worth / 8)), "latency": cost, "size": cost**2}
    return Evaluation(proposal=proposal, values={k: Value(v, "computed") for k, v in values.items()}, evaluator="toy")


def reached(strategy, budget):
    """The hypervolume of a search on the layers."""
    done = run(strategy, evaluate_layers, budget=budget)
    costs = np.array([[-e["accuracy"] / 90, e["latency"] / 40] for e in done])
    return hypervolume(costs, np.array([0.0, 1.0]))


def test_it_beats_nsga2_and_random_where_something_can_be_learnt():
    found = {
        method: np.mean([reached(method(layered(), PAIR, rng=np.random.default_rng(s)), 45) for s in range(3)])
        for method in (Auto, Nsga2, RandomSearch)
    }
    assert found[Auto] > found[Nsga2]
    assert found[Auto] > found[RandomSearch]


def noise(proposal):
    """Nothing in an architecture predicts this."""
    digits = [int(proposal.architecture.key[i : i + 8], 16) / 2**32 for i in (0, 8)]
    values = dict(zip(("accuracy", "latency"), digits, strict=True))
    return Evaluation(proposal=proposal, values={k: Value(v, "computed") for k, v in values.items()}, evaluator="noise")


@pytest.mark.slow
def test_where_nothing_can_be_learnt_it_does_as_well_as_nsga2():
    volumes = {}
    for method in (Auto, Nsga2):
        found = []
        for seed in range(6):
            done = run(method(layered(), PAIR, rng=np.random.default_rng(seed)), noise, budget=60)
            costs = np.array([[1 - e["accuracy"], e["latency"]] for e in done])
            found.append(hypervolume(costs, np.array([1.0, 1.0])))
        volumes[method] = np.mean(found)
    assert volumes[Auto] > volumes[Nsga2] - 0.03  # two standard errors of the mean of six searches


def test_unpredictable_costs_are_known_to_be():
    space = layered()
    history = RowHistory(space, PAIR, ())
    history.tell([noise(Proposal(a)) for a in space.sample(60, np.random.default_rng(0))])
    assert ChoiceModels(history, [], 400).fitted("ranks").skill < 0.2
    other = RowHistory(space, PAIR, ())
    other.tell([evaluate_layers(Proposal(a)) for a in space.sample(60, np.random.default_rng(0))])
    assert ChoiceModels(other, [], 400).fitted("ranks").skill > 0.7


def test_free_metrics_are_used_and_may_be_missing():
    """With the accuracy itself known for half of the space, the best of that half is found at once."""
    space = layered(6)
    rows = space.enumerate_rows()
    accuracy = np.array([evaluate_layers(Proposal(a))["accuracy"] for a in space.architectures(rows)])
    known = np.where(np.arange(len(rows)) % 2 == 0, accuracy, np.nan)
    free = KnownValues(space, columns={"hint": known}, rows=rows)
    tried = {}
    for name, given in (("with", free), ("without", None)):
        spans = []
        for seed in range(3):
            done = run(Auto(space, [ERROR], rng=np.random.default_rng(seed), free=given), evaluate_layers, budget=16)
            spans.append(max(e["accuracy"] for e in done))
        tried[name] = np.mean(spans)
    assert tried["with"] >= tried["without"]
    assert tried["with"] > np.nanmax(known) - 0.5


def test_limits_and_failures_are_learnt():
    def evaluate(proposal):
        if proposal.architecture.to_dict()["layer0"] == "large":
            return Evaluation(proposal=proposal, values={}, evaluator="toy", status="failed", reason="too large")
        return evaluate_layers(proposal)

    limits = (Limit("latency", "<=", 6.0),)
    done = run(Auto(layered(), [ERROR], limits, rng=np.random.default_rng(0)), evaluate, budget=60)
    assert np.mean([e.ok for e in done[30:]]) > 0.8
    everything = [evaluate(Proposal(a)) for a in layered().architectures(layered().enumerate_rows())]
    best = max(e["accuracy"] for e in everything if e.feasible(limits))
    assert max(e["accuracy"] for e in done if e.feasible(limits)) > best - 0.5


@pytest.mark.slow
def test_large_spaces_and_batches():
    """45 conditional choices, about 10**19 designs: batches of eight spread, and nothing is asked twice."""
    choices = [Choice(f"depth{s}", (2, 3, 4)) for s in range(5)]
    for s, b in itertools.product(range(5), range(4)):
        when = (f"depth{s}", (3, 4)) if b == 2 else (f"depth{s}", (4,)) if b == 3 else None
        choices += [Choice(f"k{s}{b}", (3, 5, 7), when=when), Choice(f"e{s}{b}", (3, 4, 6), when=when)]
    space = ChoiceSpace(choices)
    assert space.size().value > 10**19

    def evaluate(proposal):
        values = proposal.architecture.to_dict()
        cost = sum(v for k, v in values.items() if k[0] in "ke")
        gain = sum(np.sqrt(v) * (1 + int(k[1]) / 4) for k, v in values.items() if k[0] in "ke")
        return Evaluation(
            proposal=proposal,
            values={"accuracy": Value(gain, "computed"), "latency": Value(float(cost), "computed")},
            evaluator="toy",
        )

    done = run(Auto(space, PAIR, rng=np.random.default_rng(1)), evaluate, budget=56, batch=8)
    assert len({e.architecture.key for e in done}) == 56
    costs = np.array([[-e["accuracy"], e["latency"]] for e in done])
    assert is_non_dominated(costs)[-24:].sum() > is_non_dominated(costs)[:24].sum()


def test_a_trend_is_followed_only_where_costs_add_up():
    rng = np.random.default_rng(0)
    x = (rng.random((60, 12)) < 0.4).astype(float)
    cost = 1 + x @ rng.random(12)
    seen = x[:40], cost[:40], np.log(cost[:40])
    line = best_line(*seen, NO_COUNTS, lambda: 1.0)
    assert isinstance(line, Ridge)
    np.testing.assert_allclose(Trend(line, *seen[1:])(x[40:]), np.log(cost[40:]), atol=0.05)
    for raw, warped in [(rng.random(40), rng.random(40)), (np.ones(40), np.zeros(40))]:
        assert best_line(x[:40], raw, warped, NO_COUNTS, lambda: 0.01) is None
    assert best_line(x[:4], cost[:4], np.log(cost[:4]), NO_COUNTS, lambda: 1.0) is None


NO_COUNTS = np.full(12, -1)


def test_counts_tell_what_rare_combinations_cost():
    """Operators whose costs span a factor of a thousand: the cheapest networks are known from a few dear ones."""
    space = ChoiceSpace([Choice(f"layer{i}", ("a", "b", "c", "d", "e"), "categorical") for i in range(5)])
    code, rng = Thermometer(space), np.random.default_rng(0)
    each = np.array([0.01, 0.02, 0.1, 3.0, 10.0])
    rows = space.sample_rows(30, rng)
    noisy = (0.01 + each[rows].sum(axis=1)) * np.exp(rng.normal(0, 0.1, 30))
    cheap = rng.integers(0, 2, (20, 5)).astype(np.int16)
    assert noisy.min() > (0.01 + each[cheap].sum(axis=1)).max()
    line = Counts(code.alike)
    line.fit(code.encode(rows), noisy)
    # Nothing below half of the least that is known is promised, but those are told from all others.
    assert (line.mean(code.encode(cheap)) <= noisy.min()).all()
    dear = np.where(rows == 0, 3, rows)
    np.testing.assert_allclose(np.log(line.mean(code.encode(dear))), np.log(0.01 + each[dear].sum(axis=1)), atol=0.25)
    ridge = Ridge()
    ridge.fit(code.encode(rows), noisy)
    assert (ridge.mean(code.encode(cheap)) > 2 * noisy.min()).any() or (ridge.mean(code.encode(cheap)) < 0).any()
    y = np.log(noisy)
    assert isinstance(best_line(code.encode(rows), noisy, y, code.alike, lambda: float(y.var())), Counts)
    assert best_line(code.encode(rows), noisy, y, code.alike, lambda: 1e-6) is None  # the process alone is better


def test_many_objectives_draw_three():
    many = [*OBJECTIVES[:3], Objective("noise", "max"), Objective("accuracy2", "max")]

    def evaluate(proposal):
        base = evaluate_layers(proposal)
        more = {"noise": Value(noise(proposal)["accuracy"], "computed"), "accuracy2": base.values["accuracy"]}
        return Evaluation(proposal=proposal, values={**base.values, **more}, evaluator="toy")

    done = run(Auto(layered(), many, rng=np.random.default_rng(0)), evaluate, budget=20)
    assert len({e.architecture.key for e in done}) == 20


@pytest.mark.parametrize(("option", "value"), [("initial", 2), ("local", 1.5), ("learn_from", 1)])
def test_options_outside_their_range(option, value):
    with pytest.raises(InvalidOption, match=option):
        Auto(layered(), PAIR, rng=np.random.default_rng(0), **{option: value})


LATENCY = (Limit("latency", "<=", 16.0),)


def told(limits=(), *, objectives=PAIR, designs):
    """A history of the layers that was told ``designs`` in that order."""
    history = RowHistory(layered(), objectives, limits)
    history.tell([evaluate_layers(Proposal(a)) for a in designs])
    return history


def by_latency(n, seed=0):
    """``n`` random designs of the layers, the fastest first."""
    designs = list({a.key: a for a in layered().sample(2 * n, np.random.default_rng(seed))}.values())[:n]
    return sorted(designs, key=lambda a: evaluate_layers(Proposal(a))["latency"])


def test_of_many_evaluations_the_best_and_the_latest_are_learnt_from():
    designs = by_latency(60)  # all that break the limit were told last
    history = told(LATENCY, designs=designs)
    at = learnt_from(history, 20)
    assert len(at) == 20
    assert (np.diff(at) > 0).all()
    assert at[-10:].tolist() == list(range(50, 60))
    assert (history.violations[at[:10]] == 0).all()
    assert (history.violations[at[10:]] > 0).any()


def test_of_a_front_larger_than_can_be_learnt_from_the_newest_stay():
    many = [Objective("worth", "max"), Objective("latency", "min")]
    history = RowHistory(layered(), many, ())
    proposals = [Proposal(a) for a in by_latency(60)]
    values = [{"worth": Value(float(i), "computed"), "latency": Value(float(i), "computed")} for i in range(60)]
    history.tell([Evaluation(proposal=p, values=v, evaluator="toy") for p, v in zip(proposals, values, strict=True)])
    assert learnt_from(history, 20).tolist() == list(range(40, 60))


def test_limits_are_learnt_beyond_what_is_learnt_from():
    """More feasible designs than can be learnt from: what breaks the limit still teaches where it is."""

    def evaluate(architecture):
        base = evaluate_layers(Proposal(architecture))
        memory = Value(9.0 if architecture.to_dict()["layer0"] == "large" else 1.0, "computed")
        return Evaluation(proposal=base.proposal, values={**base.values, "memory": memory}, evaluator="toy")

    history = RowHistory(layered(), PAIR, [Limit("memory", "<=", 5.0)])
    history.tell([evaluate(a) for a in layered().sample(90, np.random.default_rng(0))])
    assert (history.violations == 0).sum() > 40
    models = ChoiceModels(history, [], 40)
    fresh = layered().sample(200, np.random.default_rng(5))
    broken = np.array([evaluate(a)["memory"] > 5 for a in fresh])
    chance = np.exp(models.fitted("ranks").log_chance(models.encode(layered().rows(fresh))))
    assert chance[broken].max() < 0.1
    assert chance[~broken].min() > 0.9


def test_hyper_parameters_are_tuned_beyond_what_is_learnt_from(monkeypatch):
    tuned = []
    retune = ChoiceGaussianProcess.retune
    monkeypatch.setattr(
        ChoiceGaussianProcess, "retune", lambda self, x, y, steps: (tuned.append(len(y)), retune(self, x, y, steps))
    )
    designs = by_latency(60)
    history = told(designs=designs[:40])
    models = ChoiceModels(history, [], 20)
    models.fitted("ranks")
    first = len(tuned)
    models.fitted("ranks")
    assert set(tuned) == {20}
    assert len(tuned) == first >= 2  # an objective each
    history.tell([evaluate_layers(Proposal(a)) for a in designs[40:]])
    models.fitted("ranks")
    assert len(tuned) >= first + 2


def test_encodings_are_those_of_the_rows_however_they_are_asked_for(monkeypatch):
    monkeypatch.setattr("archsmith.strategy.kit.choice_models.ENCODINGS_KEPT", 60)
    space, rng = layered(), np.random.default_rng(0)
    models = ChoiceModels(RowHistory(space, PAIR, ()), [], 20)
    for n in (1, 7, 50, 30, 200, 5):  # grows, repeats itself, and forgets
        rows = space.rows(space.sample(n, rng))
        rows = np.concatenate([rows, rows[::2]])
        np.testing.assert_array_equal(models.encode(rows), Thermometer(space).encode(rows))
