"""What a REINFORCE controller claims, and what its audit says of it."""

import numpy as np
import pytest

from archsmith import method
from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption
from archsmith.testing.strategies import run
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space

torch = pytest.importorskip("torch")
from archsmith.strategy.policy.reinforce import Reinforce  # noqa: E402 - after the check for torch

ACCURACY = TOY_OBJECTIVES[:1]


def made(objectives=ACCURACY, seed=0, **options):
    return Reinforce(toy_space(), objectives, rng=np.random.default_rng(seed), **options)


@pytest.mark.slow
def test_it_beats_random_search():
    found = {"random": 0.0, "reinforce": 0.0}
    for name in found:
        for seed in range(2):
            strategy = method.make("strategy", name, toy_space(), ACCURACY, (), rng=np.random.default_rng(seed))
            found[name] += np.mean([e["accuracy_top1"] for e in run(strategy, toy_evaluate, budget=80)[50:]]) / 2
    assert found["reinforce"] > found["random"] + 0.5


def test_the_memory_raises_what_the_state_knows_of_the_architecture():
    told = [toy_evaluate(Proposal(a)) for a in toy_space().sample(150, np.random.default_rng(0))]
    known = {}
    for replay in (0, 32):
        strategy = made(replay=replay)
        for start in range(0, len(told), 2):
            strategy.tell(told[start : start + 2])
        known[replay] = strategy.audit()
    assert -1 <= known[0] <= 1
    assert known[32] > known[0] + 0.1


def test_an_audit_changes_nothing():
    asked = []
    for audited in (True, False):
        strategy = made()
        run(strategy, toy_evaluate, budget=25)
        if audited:
            strategy.audit(50)
        asked.append([str(p.architecture) for p in strategy.ask(3)])
    assert asked[0] == asked[1]


def test_torch_is_left_as_it_was():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    run(made(), toy_evaluate, budget=25)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "options",
    [{"hidden": 0}, {"rate": -1.0}, {"entropy": 11}, {"replay": -1}, {"initial": 0}],
)
def test_options_are_checked(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        made(**options)


def test_an_audit_needs_pairs():
    with pytest.raises(InvalidOption, match="pairs"):
        made().audit(2)
