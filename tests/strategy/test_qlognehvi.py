"""What the peer qLogNEHVI does beside the contract, at tiny sizes."""

import sys

import numpy as np
import pytest

from archsmith import method
from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption, MissingExtra
from archsmith.metric import Limit
from archsmith.testing.strategies import run
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space

TINY = {"initial": 6, "pool": 20, "samples": 8}


@pytest.fixture(autouse=True)
def nothing_is_compiled(monkeypatch):
    """BoTorch would have a kernel compiled for most of a minute; without it, it computes the same."""
    cpp_extension = pytest.importorskip("torch.utils.cpp_extension")
    monkeypatch.setattr(cpp_extension, "load", None)


def made(objectives=TOY_OBJECTIVES, limits=(), seed=0, **options):
    pytest.importorskip("botorch")
    rng = np.random.default_rng(seed)
    return method.make("strategy", "qlognehvi", toy_space(), objectives, limits, rng=rng, **(TINY | options))


def known(n=15):
    return [toy_evaluate(Proposal(a)) for a in toy_space().sample(n, np.random.default_rng(3))]


def test_it_picks_what_improves_the_front():
    """Three picks of it, batch and pending included, are better than the designs that it learnt from."""
    strategy = made()
    strategy.tell(known(8))
    asked = [toy_evaluate(p) for p in strategy.ask(3)]
    front = [(e["accuracy_top1"], e["latency_ms"]) for e in known(8)]
    new = [not any(a >= e["accuracy_top1"] and t <= e["latency_ms"] for a, t in front) for e in asked]
    assert sum(new) >= 2


def test_it_is_deterministic_and_leaves_torch_alone():
    import torch

    before = torch.random.get_rng_state()
    asked = []
    for _ in range(2):
        strategy = made(TOY_OBJECTIVES[:1])
        strategy.tell(known(8))
        asked.append([p.architecture.key for p in strategy.ask(2)])
    assert asked[0] == asked[1]
    assert torch.equal(before, torch.random.get_rng_state())


def test_limits_are_constraints_and_unknown_metrics_are_no_obstacle():
    found = {}
    for limits in [(), (Limit("latency_ms", "<=", 0.25), Limit("unheard_of", "<=", 1.0))]:
        strategy = made(TOY_OBJECTIVES[:1], limits, pool=40, samples=32)
        strategy.tell(known(20))
        [asked] = strategy.ask(1)
        found[bool(limits)] = toy_evaluate(asked)["latency_ms"]
    assert found[True] < 0.5 * found[False]


def test_a_search_survives_models_that_cannot_be_fitted(monkeypatch):
    strategy = made()
    strategy.tell(known(8))
    from botorch import fit
    from botorch.exceptions import ModelFittingError

    def fails(mll):
        next(iter(mll.model.parameters())).data.fill_(float("nan"))  # as a failed attempt may leave it
        raise ModelFittingError("All attempts to fit the model have failed.")

    monkeypatch.setattr(fit, "fit_gpytorch_mll", fails)
    [asked] = strategy.ask(1)
    assert asked.architecture.key not in {e.architecture.key for e in known()}


@pytest.mark.slow
def test_a_whole_search_beats_random_draws():
    best = max(e["accuracy_top1"] - 20 * e["latency_ms"] for e in run(made(pool=100), toy_evaluate, budget=50))
    drawn = known(50)
    assert best > max(e["accuracy_top1"] - 20 * e["latency_ms"] for e in drawn)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "botorch", None)
    with pytest.raises(MissingExtra, match="bo"):
        method.make("strategy", "qlognehvi", toy_space(), TOY_OBJECTIVES, (), rng=np.random.default_rng(0))


@pytest.mark.parametrize("options", [{"initial": 2}, {"pool": 0}, {"samples": 0}])
def test_options_are_checked(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        made(**options)
