"""A search that predicts latencies: candidates are predicted, the front is measured."""

import json
import re

import pytest
import torch
from torch import nn

import archsmith as smith
from archsmith.errors import InvalidOption


@pytest.fixture
def supernet():
    """Of four architectures, so that little is measured."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    one, two = smith.Width("one", (8, 16)), smith.Width("two", (8, 16))
    axes = {"0": smith.Elastic(out=one), "2": smith.Elastic(into=one, out=two), "4": smith.Elastic(into=two)}
    return smith.elastic(model, torch.zeros(1, 6), axes)


def searched(supernet, loader, run, **changed):
    question = {"maximize": "accuracy_top1", "minimize": "latency_ms", "budget": 2, "on": "torch_cpu:batch=4"}
    return smith.search(supernet, loader, run=run, latency="predicted", **{**question, **changed})


def test_candidates_are_predicted_and_the_front_is_measured(supernet, loader, tmp_path):
    heard = []
    front = searched(supernet, loader, tmp_path / "r", on_progress=heard.append)
    searched_for = smith.Run.open(tmp_path / "r").evaluations()
    assert len(searched_for) >= 2
    assert {e.values["latency_ms"].source for e in searched_for if not e.proposal.fidelity} == {"predicted"}
    assert {m.final.values["latency_ms"].source for m in front} == {"measured"}
    assert any("predicted" in p.text for p in heard)
    assert any(re.search(r"latency_ms [\d.]+ \(predicted\)", p.text) for p in heard)
    page = front.report().read_text(encoding="utf-8")
    assert re.search(r"The largest network: [\d.]+ ms \(predicted\)", page)
    assert "by the search, predicted" in page
    kept = (tmp_path / "r" / "latency" / "latency_ms.json").read_text(encoding="utf-8")
    again = searched(supernet, loader, tmp_path / "r", budget=4)
    assert (tmp_path / "r" / "latency" / "latency_ms.json").read_text(encoding="utf-8") == kept
    assert len(json.loads(kept)["latency_ms"]) == 4
    assert {m.final.values["latency_ms"].source for m in again} == {"measured"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"minimize": "energy_mj"}, "energy_mj can only be measured; leave out latency='predicted'"),
        ({"limits": "throughput>=1"}, "throughput can only be measured"),
    ],
)
def test_what_cannot_be_predicted_is_refused(supernet, loader, tmp_path, changed, said):
    with pytest.raises(InvalidOption, match=said):
        searched(supernet, loader, tmp_path / "r", **changed)
    assert not (tmp_path / "r").exists()


def test_other_words_are_refused(supernet, loader):
    with pytest.raises(InvalidOption, match="measured or predicted, got 'guessed'"):
        smith.search(supernet, loader, minimize="latency_ms", latency="guessed")
