"""Limits that are tried before anything is spent: which networks, how many, and what is said."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import archsmith as smith
from archsmith.architecture import Proposal
from archsmith.errors import Infeasible
from archsmith.evaluation import Evaluation
from archsmith.evaluator.counts import Counts
from archsmith.metric import Limit
from archsmith.orchestration import reachable
from archsmith.progress import SILENT
from archsmith.space import Choice, ChoiceSpace
from archsmith.value import Value

WIDTHS = (8, 16, 24, 32)


def space(layers=6):
    widths = [Choice(f"{i}.width", WIDTHS) for i in range(layers)]
    kinds = [Choice(f"{i}.kind", ("dense", "depthwise"), kind="categorical") for i in range(2)]
    return ChoiceSpace((*widths, *kinds))


class Probes:
    """Costs by a function of the architecture; remembers what was asked."""

    def __init__(self, cost, fails=lambda a: False):
        self.cost, self.fails, self.found = cost, fails, {}

    def __call__(self, architecture):
        if architecture.key not in self.found:
            proposal = Proposal(architecture)
            if self.fails(architecture):
                found = Evaluation(proposal=proposal, values={}, evaluator="e", status="failed", reason="r")
            else:
                ms = self.cost(architecture)
                found = Evaluation(proposal=proposal, values={"latency_ms": Value(ms, "measured")}, evaluator="e")
            self.found[architecture.key] = found
        return self.found[architecture.key]


def sizes(a):
    return sum(a[f"{i}.width"] for i in range(6))


def tried(limit, cost, **more):
    probes = Probes(cost, **more)
    reachable._try(limit, limit, space(), probes, SILENT, "WAY OUT")
    return probes


def refused(limit, cost):
    probes = Probes(cost)
    with pytest.raises(Infeasible) as raised:
        reachable._try(limit, limit, space(), probes, SILENT, "WAY OUT")
    return probes, str(raised.value)


def test_a_limit_that_the_smallest_network_meets_costs_one_network():
    assert len(tried(Limit("latency_ms", "<=", 48.0), sizes).found) == 1


def test_a_hopeless_limit_costs_few_probes():
    probes, said = refused(Limit("latency_ms", "<=", 10.0), sizes)
    assert len(probes.found) == reachable.MIN_PROBES
    assert said == (
        "nothing meets latency_ms<=10: the smallest latency_ms among 6 networks that were tried is 48, of the smallest "
        "network. Loosen the limit (this network meets latency_ms<=48), or let networks be smaller; WAY OUT"
    )


def test_a_limit_that_is_nearly_met_is_tried_longer():
    probes, said = refused(Limit("latency_ms", "<=", 47.0), sizes)
    assert len(probes.found) == reachable.MAX_PROBES
    assert "among 20 networks" in said


def test_the_smallest_network_need_not_be_the_fastest():
    """Padding: the third layer runs well at 16 only, as real runtimes do."""

    def cost(a):
        return sizes(a) + 20 * (a["2.width"] != 16)

    tried(Limit("latency_ms", "<=", 56.0), cost)  # 8 more units, 20 less of padding; the smallest takes 68
    _, said = refused(Limit("latency_ms", "<=", 55.0), cost)
    assert "is 56, of the smallest network with 2.width=16" in said


def test_other_kinds_are_tried_together():
    def cost(a):
        return sizes(a) * (0.2 if all(a[f"{i}.kind"] == "depthwise" for i in range(2)) else 1.0)

    assert len(tried(Limit("latency_ms", "<=", 10.0), cost).found) == 2


def test_what_must_be_large_is_looked_for_at_both_ends():
    at_least = Limit("latency_ms", ">=", 150.0)
    assert len(tried(at_least, sizes).found) == 2
    assert len(tried(at_least, lambda a: 7200 / sizes(a)).found) == 1
    _, said = refused(Limit("latency_ms", ">=", 1000.0), sizes)
    assert "the largest latency_ms among 6 networks that were tried is 192, of the largest network" in said
    assert "meets latency_ms>=190" in said


def test_failures_refuse_nothing():
    probes = tried(Limit("latency_ms", "<=", 1.0), sizes, fails=lambda a: True)
    assert probes.found
    some, said = Probes(sizes, fails=lambda a: a == space().smallest()), ""
    with pytest.raises(Infeasible) as raised:
        reachable._try(Limit("latency_ms", "<=", 1.0), Limit("latency_ms", "<=", 1.0), space(), some, SILENT, "")
    said = str(raised.value)
    assert "the smallest network with" in said


@given(st.floats(1.0, 400.0), st.integers(0, 10**6), st.sampled_from(["<=", ">="]))
def test_what_is_refused_was_not_met_and_what_is_offered_is(bound, seed, sense):
    """On arbitrary costs: at most 20 networks, no refusal where one of them meets the limit, an offer that holds."""
    noise = np.random.default_rng(seed)
    memory = {}

    def cost(a):
        return memory.setdefault(a.key, float(noise.uniform(1.0, 300.0)))

    limit, probes = Limit("latency_ms", sense, bound), Probes(cost)
    try:
        reachable._try(limit, limit, space(), probes, SILENT, "")
    except Infeasible as error:
        values = [e["latency_ms"] for e in probes.found.values()]
        assert all(limit.violation(e) > 0 for e in probes.found.values())
        offered = Limit.parse(str(error).partition("this network meets ")[2].partition(")")[0])
        nearest = min(values) if sense == "<=" else max(values)
        assert offered.sense == sense
        assert nearest <= offered.bound * (1 + 1e-9) if sense == "<=" else nearest >= offered.bound * (1 - 1e-9)
        assert abs(offered.bound - nearest) <= 0.1 * nearest
    assert len(probes.found) <= reachable.MAX_PROBES


def test_in_python_nothing_is_judged_before_the_limits_are_tried():
    class Watched:
        def __init__(self):
            self.read = 0

        def __iter__(self):
            self.read += 1
            yield torch.zeros(4, 5), torch.zeros(4, dtype=torch.long)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 3))
    supernet = smith.elastic(model, torch.zeros(2, 5))
    loader = Watched()
    asked = {"maximize": "accuracy_top1", "minimize": "params", "budget": 3, "limits": "params<=5"}
    with pytest.raises(Infeasible, match=r"the smallest network.*pass other limits="):
        smith.search(supernet, loader, **asked)
    assert loader.read <= 1  # for the fingerprint of the data


def test_what_was_tried_is_kept_and_not_evaluated_again(tmp_path, monkeypatch):
    torch.manual_seed(0)
    supernet = smith.elastic(nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 3)), torch.zeros(2, 5))
    loader = [(torch.zeros(4, 5), torch.zeros(4, dtype=torch.long))]
    measured, measure = [], Counts.measure
    monkeypatch.setattr(Counts, "measure", lambda self, *a, **k: measured.append(a) or measure(self, *a, **k))
    asked = {"maximize": "accuracy_top1", "minimize": "params", "budget": 3, "run": tmp_path / "r"}
    for bound, evaluations in ((5, 1), (6, 0)):
        before = len(measured)
        with pytest.raises(Infeasible, match=f"nothing meets params<={bound}"):
            smith.search(supernet, loader, limits=f"params<={bound}", **asked)
        assert (len(measured) > before) == bool(evaluations)
    with smith.Run.open(tmp_path / "r").store() as store:
        assert len(store.evaluations()) == len(measured) > 0
