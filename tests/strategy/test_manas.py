"""What MANAS claims: regret that grows slower than the number of rounds, with either kind of credit."""

import numpy as np
import pytest

from archsmith import method
from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption
from archsmith.evaluation import Evaluation
from archsmith.metric import Limit, Objective
from archsmith.space import Choice, ChoiceSpace
from archsmith.strategy.policy.manas import Manas
from archsmith.testing.strategies import run
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space
from archsmith.value import Value

SPACE = ChoiceSpace([Choice(f"layer{i}", (0, 1, 2, 3), "categorical") for i in range(8)])
LOSS = (Objective("loss", "min"),)
TABLE = np.random.default_rng(5).random((8, 4))


def evaluate(proposal):
    """Each layer adds its share of the loss; a digit of the key is the noise of a training."""
    row = SPACE.rows([proposal.architecture])[0]
    noise = int(proposal.architecture.key[:4], 16) / 65535 - 0.5
    loss = float(TABLE[np.arange(8), row].sum() + 0.5 * noise)
    return Evaluation(proposal=proposal, values={"loss": Value(loss, "computed")}, evaluator="layers")


def regret(name, rounds, **options):
    """Summed excess over the best architecture after each round, mean of three searches, ``(rounds,)``."""
    best = TABLE.min(axis=1).sum()
    found = np.zeros(rounds)
    for seed in range(3):
        strategy = method.make("strategy", name, SPACE, LOSS, (), rng=np.random.default_rng(seed), **options)
        found += np.cumsum([e["loss"] - best for e in run(strategy, evaluate, budget=rounds)]) / 3
    return found


@pytest.mark.slow
def test_regret_is_sub_linear_and_that_of_random_search_is_not():
    rounds = np.array([50, 100, 200, 400])
    growth, last = {}, {}
    for label, name, options in (
        ("least_squares", "manas", {"credit": "least_squares"}),
        ("exp3", "manas", {"credit": "exp3"}),
        ("random", "random", {}),
    ):
        total = regret(name, 400, **options)
        growth[label] = np.polyfit(np.log(rounds), np.log(total[rounds - 1]), 1)[0]
        last[label] = total[-1]
    assert growth["random"] > 0.97
    assert growth["exp3"] < 0.93
    assert growth["least_squares"] < 0.75
    assert last["least_squares"] < last["exp3"] < 0.9 * last["random"]


def test_least_squares_finds_the_best_option_of_most_layers():
    strategy = Manas(SPACE, LOSS, rng=np.random.default_rng(0))
    strategy.tell([evaluate(Proposal(a)) for a in SPACE.sample(150, np.random.default_rng(1))])
    rows = SPACE.rows([p.architecture for p in strategy.ask(20)])
    assert (rows == TABLE.argmin(axis=1)).mean() > 0.6


def test_several_objectives_and_a_limit():
    limits = (Limit("latency_ms", "<=", 0.25),)
    strategy = Manas(toy_space(), TOY_OBJECTIVES, limits, rng=np.random.default_rng(0))
    done = run(strategy, toy_evaluate, budget=120)
    feasible = [e.feasible(limits) for e in done]
    assert np.mean(feasible[60:]) > 2 * np.mean(feasible[:10]) + 0.1


@pytest.mark.parametrize("options", [{"credit": "ucb"}, {"rate": -1.0}, {"exploration": 1.5}, {"initial": 0}])
def test_options_are_checked(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        Manas(SPACE, LOSS, rng=np.random.default_rng(0), **options)
