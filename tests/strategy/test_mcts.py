"""What tree search claims: better than random on a user's own conditional space; closed branches stay closed."""

import numpy as np
import pytest

from archsmith import method
from archsmith.errors import InvalidOption
from archsmith.evaluation import Evaluation
from archsmith.metric import Limit, Objective
from archsmith.space import Choice, ChoiceSpace
from archsmith.strategy.tree.mcts import MonteCarloTreeSearch
from archsmith.testing.strategies import run
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space
from archsmith.value import Value

ACCURACY = TOY_OBJECTIVES[:1]


def made(space=None, objectives=ACCURACY, limits=(), seed=0, **options):
    return MonteCarloTreeSearch(space or toy_space(), objectives, limits, rng=np.random.default_rng(seed), **options)


def test_it_beats_random_search():
    found = {"random": 0.0, "mcts": 0.0}
    for name in found:
        for seed in range(4):
            strategy = method.make("strategy", name, toy_space(), ACCURACY, (), rng=np.random.default_rng(seed))
            done = run(strategy, toy_evaluate, budget=80)
            found[name] += np.sort([e["accuracy_top1"] for e in done])[-10:].mean() / 4
    assert found["mcts"] > found["random"] + 0.5


def test_good_branches_are_walked_more_often():
    """The first choice decides nearly everything: most designs share its best option."""
    space = ChoiceSpace(
        [Choice("first", ("a", "b", "c"), "categorical"), *(Choice(f"x{i}", (0, 1, 2, 3)) for i in range(3))]
    )

    def evaluate(proposal):
        a = proposal.architecture
        value = {"a": 0.0, "b": 10.0, "c": 0.0}[a["first"]] + 0.1 * sum(a[f"x{i}"] for i in range(3))
        return Evaluation(proposal=proposal, values={"y": Value(value, "computed")}, evaluator="e")

    done = run(made(space, [Objective("y", "max")]), evaluate, budget=60)
    assert np.mean([e.architecture["first"] == "b" for e in done]) > 0.6


def test_a_limit_draws_it_into_the_feasible_part():
    limits = (Limit("latency_ms", "<=", 0.5),)
    done = run(made(limits=limits), toy_evaluate, budget=100)
    feasible = [e.feasible(limits) for e in done]
    assert np.mean(feasible[50:]) > np.mean(feasible[:20]) + 0.1


@pytest.mark.parametrize("options", [{"exploration": -1.0}, {"exploration": 11}, {"rollouts": 0}])
def test_options_are_checked(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        made(**options)
