"""What RENA claims: edits that pay, and feasible networks under each limit."""

import numpy as np
import pytest

from archsmith import method
from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption
from archsmith.metric import Limit
from archsmith.strategy.policy.rena import Rena
from archsmith.testing.strategies import run
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space

ACCURACY = TOY_OBJECTIVES[:1]
SAMPLE = [toy_evaluate(Proposal(a)) for a in toy_space().sample(1000, np.random.default_rng(11))]


def made(objectives=TOY_OBJECTIVES, limits=(), seed=0, **options):
    return Rena(toy_space(), objectives, limits, rng=np.random.default_rng(seed), **options)


def tight(metric, share):
    """A limit that ``share`` of random designs meet."""
    sense = "<=" if metric == "latency_ms" else ">="
    values = [e.values[metric].high if sense == "<=" else e.values[metric].low for e in SAMPLE]
    return Limit(metric, sense, float(np.quantile(values, share if sense == "<=" else 1 - share)))


def test_it_beats_random_search():
    found = {"random": 0.0, "rena": 0.0}
    for name in found:
        for seed in range(3):
            strategy = method.make("strategy", name, toy_space(), ACCURACY, (), rng=np.random.default_rng(seed))
            found[name] += max(e["accuracy_top1"] for e in run(strategy, toy_evaluate, budget=80)) / 3
    assert found["rena"] > found["random"] + 0.5


@pytest.mark.parametrize("metrics", [("latency_ms",), ("accuracy_top1",), ("latency_ms", "accuracy_top1")])
def test_it_finds_feasible_networks_under_each_limit(metrics):
    limits = tuple(tight(metric, 0.03 if len(metrics) == 1 else 0.35) for metric in metrics)
    share = np.mean([e.feasible(limits) for e in SAMPLE])
    done = run(made(ACCURACY, limits), toy_evaluate, budget=120)
    assert 0 < share < 0.04
    assert np.mean([e.feasible(limits) for e in done[60:]]) > 5 * share


def test_the_policy_learns_which_edits_pay():
    """Against the same search with a network that never learns."""
    found = {}
    for rate in (0.0, 0.005):
        done = [e for seed in range(3) for e in run(made(ACCURACY, seed=seed, rate=rate), toy_evaluate, budget=80)[50:]]
        found[rate] = np.mean([e["accuracy_top1"] for e in done])
    assert found[0.005] > found[0.0]


def test_edited_designs_name_their_parent():
    done = run(made(initial=5), toy_evaluate, budget=30)
    keys = {e.architecture.key for e in done}
    parents = [e.proposal.parent for e in done]
    assert parents[:5] == [None] * 5
    assert {p for p in parents if p} <= keys
    assert sum(p is not None for p in parents) > 15


@pytest.mark.parametrize(
    "options",
    [{"initial": 0}, {"parents": 0}, {"edits": 0}, {"penalty": 1.1}, {"hidden": 0}, {"rate": -0.1}, {"entropy": 11},
     {"batch": 0}],
)  # fmt: skip
def test_options_are_checked(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        made(**options)
