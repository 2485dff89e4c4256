"""What NAS-BOWL claims: fewer evaluations than random search, hard limits, motifs that are the true ones."""

import itertools

import numpy as np
import pytest

from archsmith import method
from archsmith.architecture import Proposal
from archsmith.encoding.weisfeiler_lehman import WeisfeilerLehman
from archsmith.errors import InvalidOption
from archsmith.evaluation import Evaluation, costs
from archsmith.metric import Limit, Objective
from archsmith.pareto import hypervolume
from archsmith.space import ChoiceSpace
from archsmith.strategy.bayesian.nas_bowl import NasBowl
from archsmith.testing.encodings import wired_space
from archsmith.testing.strategies import run
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space
from archsmith.value import Value

GAIN = Objective("gain", "max")
GOALS = (GAIN, Objective("price", "min"))
SPACE = wired_space()
COUNTS = WeisfeilerLehman(SPACE, rounds=0)


def evaluate(proposal):
    """More convolutions on the way are better and dearer, poolings are worse."""
    row = SPACE.rows([proposal.architecture])
    n = dict(zip(COUNTS.names, COUNTS.encode(row)[0], strict=True))
    gain = 2.0 * n["conv"] - 1.5 * n["pool"] + 0.01 * float(row.sum())
    values = {"gain": gain, "price": 1 + 3 * n["conv"] + n["pool"] + 0.02 * float(row[0, 2])}
    return Evaluation(
        proposal=proposal, values={k: Value(float(v), "computed") for k, v in values.items()}, evaluator="motifs"
    )


def made(objectives=GOALS, limits=(), seed=0, space=None, **options):
    return NasBowl(space or SPACE, objectives, limits, rng=np.random.default_rng(seed), **options)


@pytest.mark.parametrize("space", [SPACE, toy_space()], ids=["graphs", "no graphs"])
def test_it_beats_random_search(space):
    known = space == toy_space()
    objectives, scale, corner = (TOY_OBJECTIVES, [10, 0.5], [-8.2, 1.6]) if known else (GOALS, [1, 1], [2.0, 11.0])
    found = {"random": 0.0, "nas_bowl": 0.0}
    for name in found:
        for seed in range(3):
            strategy = method.make("strategy", name, space, objectives, (), rng=np.random.default_rng(seed))
            done = run(strategy, toy_evaluate if known else evaluate, budget=45)
            found[name] += hypervolume(costs(done, objectives) / scale, corner)
    assert found["nas_bowl"] > 1.03 * found["random"]


def test_motifs_are_what_the_metric_was_made_of():
    strategy = made()
    strategy.tell([evaluate(Proposal(a)) for a in SPACE.sample(80, np.random.default_rng(0))])
    motifs = strategy.motifs(3)
    assert len(motifs) == 6
    assert motifs[0].effect > 0 > motifs[-1].effect
    assert motifs[0].name == "conv"
    assert motifs[-1].name.startswith("pool")
    assert all(a.effect >= b.effect for a, b in itertools.pairwise(motifs))
    assert strategy.motifs(1, "price")[-1].name == "conv"  # what harms a price raises it


def test_without_a_graph_view_motifs_are_options():
    plain = ChoiceSpace(SPACE.choices)
    strategy = made([GAIN], space=plain)
    rng = np.random.default_rng(0)
    sampled = plain.sample(60, rng)
    values = [float(a["right"] == "conv") + 0.1 * rng.random() for a in sampled]
    strategy.tell(
        [
            Evaluation(proposal=Proposal(a), values={"gain": Value(v, "computed")}, evaluator="e")
            for a, v in zip(sampled, values, strict=True)
        ]
    )
    assert strategy.motifs(1)[0].name == "right=conv"


def test_motifs_need_evaluations_and_a_known_objective():
    strategy = made()
    with pytest.raises(InvalidOption, match="3 or more"):
        strategy.motifs()
    with pytest.raises(InvalidOption, match="latency"):
        strategy.motifs(objective="latency")


def test_it_finds_the_best_that_a_limit_allows():
    limits = (Limit("price", "<=", 4.5),)
    everything = [evaluate(Proposal(a)) for a in SPACE.architectures(SPACE.enumerate_rows())]
    allowed = [e["gain"] for e in everything if e.feasible(limits)]
    done = run(made([GAIN], limits), evaluate, budget=30)
    assert max(e["gain"] for e in done if e.feasible(limits)) >= np.quantile(allowed, 0.99)
    assert max(e["gain"] for e in everything) > max(allowed) + 1  # the limit is in the way


def test_a_limited_metric_that_is_missing_here_and_there():
    def patchy(proposal):
        e = evaluate(proposal)
        odd = int(proposal.architecture.key, 16) % 2
        values = {"gain": e.values["gain"]} | ({"price": e.values["price"]} if odd else {})
        return Evaluation(proposal=proposal, values=values, evaluator="patchy")

    done = run(made([GAIN], (Limit("price", "<=", 5.0),)), patchy, budget=30)
    assert len({e.architecture.key for e in done}) == 30


def test_a_long_history_is_cut_to_the_best_and_the_latest():
    strategy = made(most=20)
    strategy.tell([evaluate(Proposal(a)) for a in SPACE.sample(120, np.random.default_rng(3))])
    assert len(strategy.ask(3)) == 3
    assert max(motif.count for motif in strategy.motifs(50)) <= 20


def test_a_batch_spreads():
    """What was picked counts as measured: the same gain is not picked twice."""
    strategy = made()
    strategy.tell([evaluate(Proposal(a)) for a in SPACE.sample(40, np.random.default_rng(0))])
    prices = [evaluate(p)["price"] for p in strategy.ask(6)]
    assert np.ptp(prices) > 2


@pytest.mark.parametrize(
    "options", [{"initial": 2}, {"pool": 1}, {"parents": 0}, {"rounds": 7}, {"every": 0}, {"most": 9}]
)
def test_options_are_checked(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        made(**options)
