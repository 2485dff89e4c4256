"""MACs against time: pairs counted by hand and by brute force, intervals believed, and what is said of it."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from archsmith.architecture import Architecture, Proposal
from archsmith.evaluation import Evaluation
from archsmith.metric import Objective
from archsmith.report import FinalNetwork, ReportData
from archsmith.report.figures import against_macs, front, progress
from archsmith.report.html import page
from archsmith.report.macs import FEWER_MACS_SHARE, in_words, macs_against_time, named_example, warning
from archsmith.report.terminal import front_table
from archsmith.space import Choice, ChoiceSpace
from archsmith.value import Value

GAIN, TIME = Objective("gain", "max"), Objective("latency_ms", "min")


def network(i, macs, ms, half=0.0, *, metric="latency_ms", source="measured", gain=1.0, fidelity=None):
    values = {
        "gain": Value(gain, "measured"),
        "macs": Value(float(macs), "computed"),
        metric: Value(ms, source, ms - half, ms + half),
    }
    proposal = Proposal(Architecture("s", (("i", i),)), fidelity=fidelity or {})
    return Evaluation(proposal=proposal, values=values, evaluator="e")


def report(evaluations, **more):
    return ReportData(title="t", run="r", objectives=(GAIN, TIME), evaluations=evaluations, **more)


def terminal(data):
    out = io.StringIO()
    Console(file=out, width=400).print(front_table(data))
    return out.getvalue()


def test_pairs_by_hand():
    # a: 60, b: 90, c: 100 MACs; notable are a-b (33 %) and a-c (40 %), b-c (10 %) is not
    a, b, c = network(1, 60, 2.0, 0.1), network(2, 90, 2.05, 0.1), network(3, 100, 3.0, 0.1)
    [found] = macs_against_time(report([a, b, c]))
    assert (found.pairs, found.not_faster, found.slower) == (2, 1, 0)
    [pair] = found.examples
    assert (pair.fewer, pair.more) == (a, b)
    assert pair.saved == pytest.approx(1 / 3)
    assert found.rank_correlation == pytest.approx(1.0)
    assert found.misleads


@pytest.mark.parametrize(("half", "not_faster"), [(0.0, 0), (0.3, 0), (0.4, 1)])
def test_a_difference_counts_beyond_its_own_interval(half, not_faster):
    """2.0 and 2.5: the difference has the half width sqrt(2) times that of each, 0.42 and 0.57."""
    found = [network(1, 50, 2.0, half), network(2, 100, 2.5, half), network(3, 100, 9.0, 0.0)]
    [it] = macs_against_time(report(found))
    assert (it.pairs, it.not_faster, it.slower) == (2, not_faster, 0)


def test_slower_is_told_from_not_faster():
    data = report([network(1, 50, 4.0, 0.1), network(2, 100, 2.0, 0.1), network(3, 105, 1.9, 0.1)])
    [found] = macs_against_time(data)
    assert (found.pairs, found.not_faster, found.slower) == (2, 2, 2)
    [pair] = found.examples  # no network is named twice
    text = named_example(data, "latency_ms", pair)
    assert "has 52 % fewer MACs than" in text
    assert "takes longer: 4 ms [3.90–4.10] against 1.90 ms [1.80–2.00]" in text


points = st.lists(
    st.tuples(st.integers(1, 40), st.floats(0.1, 9), st.floats(0, 0.5)),
    min_size=3,
    max_size=12,
    unique_by=lambda p: p[1],
)


@given(points, st.randoms(use_true_random=False))
def test_counts_are_those_of_all_pairs_in_any_order(drawn, random):
    made = [network(i, m, t, h * t) for i, (m, t, h) in enumerate(drawn)]
    found = macs_against_time(report(made))
    if len({m for m, _, _ in drawn}) == 1:
        assert found == []
        return
    pairs = [(a, b) for a in drawn for b in drawn if 1 - a[0] / b[0] >= FEWER_MACS_SHARE]
    beyond = [(b[1] - a[1], np.hypot(a[1] * a[2], b[1] * b[2])) for a, b in pairs]
    [it] = found
    assert it.pairs == len(pairs)
    assert it.not_faster == sum(gained <= half for gained, half in beyond)
    assert it.slower == sum(-gained > half for gained, half in beyond)
    assert all(p.saved >= FEWER_MACS_SHARE for p in it.examples)
    assert (it.not_faster > 0) == bool(it.examples)
    random.shuffle(made)
    [other] = macs_against_time(report(made))
    assert (other.pairs, other.not_faster, other.slower) == (it.pairs, it.not_faster, it.slower)
    assert other.rank_correlation == pytest.approx(it.rank_correlation)


@given(st.lists(st.integers(1, 10**6), min_size=3, max_size=10, unique=True))
def test_time_that_follows_macs_exactly_misleads_nobody(macs):
    [found] = macs_against_time(report([network(i, m, 1e-3 * m) for i, m in enumerate(macs)]))
    assert found.rank_correlation == pytest.approx(1.0)
    assert (found.not_faster, found.examples, found.misleads) == (0, (), False)
    assert not warning(report([]), found)


def test_only_what_was_measured_counts_and_each_network_once():
    predicted = [network(i, 100 + 50 * i, 1.0 + i, source="predicted") for i in range(4)]
    assert macs_against_time(report(predicted)) == []
    measured = [network(i, 100 + 50 * i, 1.0 + i) for i in range(4)]
    again = network(0, 100, 1.5, 0.01, fidelity={"stage": "final"})
    partly = network(7, 90, 0.1, fidelity={"epochs": 1})
    handed = FinalNetwork("best", measured[0], again)
    searched = [*measured, partly]
    [found] = macs_against_time(report(searched, baselines={"random": measured[:2]}, networks=[handed]))
    assert len(found.networks) == 4
    assert again in found.networks  # the better measurement of the two
    assert measured[0] not in found.networks
    failed = Evaluation(
        proposal=Proposal(Architecture("s", (("i", 9),))), values={}, evaluator="e", status="failed", reason="r"
    )
    assert len(macs_against_time(report([*measured, failed]))[0].networks) == 4
    assert macs_against_time(report(measured[:2])) == []


def test_every_device_has_a_panel_of_its_own():
    found = []
    for i in range(4):
        one = network(i, 100 + 50 * i, 1.0 + i, 0.1, metric="latency_ms@board")
        found.append(replace(one, values={**one.values, "latency_ms@desk": Value(9.0 - i, "measured")}))
    data = ReportData(title="t", run="r", objectives=(GAIN, Objective("latency_ms@board", "min")), evaluations=found)
    board, desk = macs_against_time(data)
    assert (board.metric, board.rank_correlation, board.misleads) == ("latency_ms@board", pytest.approx(1), False)
    assert (desk.metric, desk.rank_correlation, desk.misleads) == ("latency_ms@desk", pytest.approx(-1), True)
    text = page(data)
    assert 'id="figure-macs-1"' in text
    assert 'id="figure-macs-2"' in text
    assert "MACs mislead about latency_ms@desk here." in text
    assert "MACs mislead about latency_ms@board" not in text
    assert "MACs mislead about latency_ms@desk" in terminal(data)


def test_the_figure_holds_every_network_with_its_interval():
    found = [network(i, m, t, 0.1, gain=g) for i, (m, t, g) in enumerate([(50, 4.0, 1), (100, 2.0, 3), (105, 1.9, 2)])]
    data = report(found)
    [it] = macs_against_time(data)
    by_name = {t["name"]: t for t in against_macs(data, it)["data"]}
    assert sorted(by_name["Pareto front"]["x"]) == [100.0, 105.0]
    assert by_name["evaluated"]["x"] == [50.0]
    assert by_name["evaluated"]["error_y"]["array"] == pytest.approx([0.1])
    assert by_name["fewer MACs, not faster"]["x"] == [50.0, 105.0, None]


def test_the_page_warns_in_words_and_says_when_all_is_well(make):
    with_macs = ("accuracy_top1", "latency_ms", "params", "macs")
    data = make(metrics=with_macs)
    [found] = macs_against_time(data)
    assert found.misleads  # depth costs time in the toy, but none of its MACs
    text = page(data)
    assert "MACs mislead about latency_ms here." in text
    assert in_words(found) in text
    assert "MACs mislead about latency_ms: in " in terminal(data)
    fine = report([network(i, 100 + 50 * i, 1.0 + i) for i in range(4)])
    assert "MACs mislead" not in page(fine)
    assert "measurably faster in all of them" in page(fine)
    assert "MACs mislead" not in terminal(fine)
    assert "MACs against time" not in page(make())  # no MACs, nothing to say


def test_precisions_are_named_as_what_macs_do_not_see():
    found = [network(i, 100 + 50 * i, 1.0 + i) for i in range(4)]
    layers = ChoiceSpace([Choice("conv.precision", ("fp32", "int8"), "categorical", owner="device")])
    assert "the precision of their layers" in page(report(found, space=layers))
    assert "the precision of their layers" not in page(report(found))


def test_latencies_have_their_interval_on_every_point():
    found = [network(i, 100, 1.0 + i, 0.2, gain=float(-i)) for i in range(3)]
    figure = front(report(found), TIME, GAIN)
    for trace in figure["data"]:
        if trace.get("mode") == "markers":
            assert trace["error_x"]["array"] == pytest.approx([0.2] * len(trace["x"]))
    single = ReportData(title="t", run="r", objectives=(TIME,), evaluations=found)
    points = progress(single, TIME)["data"][0]
    assert "error_x" not in points
    assert points["error_y"]["arrayminus"] == pytest.approx([0.2] * 3)
