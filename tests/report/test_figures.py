"""Hypervolume, effects, numbers and the terminal's table, against values worked out by hand."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from archsmith.architecture import Architecture, Proposal
from archsmith.evaluation import Evaluation
from archsmith.metric import Limit, Objective
from archsmith.quantities import limit_text, number
from archsmith.report import FinalNetwork, ReportData
from archsmith.report.effects import main_effects
from archsmith.report.figures import front, hypervolume_figure, hypervolumes, progress
from archsmith.report.terminal import front_table
from archsmith.report.text import best_found, verdict
from archsmith.value import Value

A, B = Objective("gain", "max"), Objective("cost", "min")


def evaluation(gain, cost, i=0, **choices):
    proposal = Proposal(Architecture("s", tuple((choices or {"i": i}).items())))
    return Evaluation(
        proposal=proposal, values={"gain": Value(gain, "measured"), "cost": Value(cost, "computed")}, evaluator="e"
    )


def failed(i):
    return Evaluation(
        proposal=Proposal(Architecture("s", (("i", i),))), values={}, evaluator="e", status="failed", reason="r"
    )


def report(evaluations, **more):
    return ReportData(title="t", run="r", objectives=(A, B), evaluations=evaluations, **more)


def test_hypervolume_by_hand():
    # normalised costs (gain, cost): (1, 0), then (0, 1): each covers 0.1 x 1.1 of a 1.1 x 1.1 box, 0.01 of it twice
    data = report([failed(0), evaluation(1.0, 2.0, 1), evaluation(3.0, 6.0, 2)])
    expected = np.array([0, 0.11, 0.21]) / 1.21
    np.testing.assert_allclose(hypervolumes(data)["search"], expected)


def test_hypervolume_counts_feasible_evaluations_only_and_shares_its_corners():
    search = [evaluation(1.0, 2.0, 1), evaluation(9.0, 9.0, 2), evaluation(3.0, 6.0, 3)]
    data = report(search, limits=(Limit("cost", "<=", 7.0),), baselines={"random": [evaluation(2.0, 4.0, 4)]})
    values = hypervolumes(data)
    assert list(values) == ["search", "random"]
    assert values["search"][0] == values["search"][1]
    np.testing.assert_allclose(values["random"], [0.6 * 0.6 / 1.21])


def test_no_hypervolume_without_feasible_evaluations():
    assert hypervolumes(report([failed(0)])) == {}
    assert hypervolumes(report([evaluation(1.0, 2.0)], limits=(Limit("cost", "<=", 1.0),))) == {}


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=12))
def test_hypervolume_never_shrinks_and_stays_a_share(points):
    values = hypervolumes(report([evaluation(g, c, i) for i, (g, c) in enumerate(points)]))["search"]
    assert np.all(np.diff(values) >= -1e-12)
    assert 0 < values[-1] <= 1


def test_curves_start_at_nothing():
    figure = hypervolume_figure(report([evaluation(1.0, 2.0, 1), evaluation(3.0, 6.0, 2)]))
    assert [(t["x"][0], t["y"][0]) for t in figure["data"]] == [(0, 0.0)]


def test_the_limit_of_an_axis_is_a_line_with_what_it_forbids_shaded():
    data = report(
        [evaluation(1.0, 2.0, 1), evaluation(3.0, 6.0, 2)], limits=(Limit("cost", "<=", 4.0), Limit("gain", ">=", 0.5))
    )
    layout = front(data, B, A)["layout"]
    rectangles = [s for s in layout["shapes"] if s["type"] == "rect"]
    assert (rectangles[0]["x0"], rectangles[0]["x1"] > 6.0) == (4.0, True)
    assert (rectangles[1]["y0"], rectangles[1]["y1"] <= 0.5) == (0.5, True)
    assert [a["text"] for a in layout["annotations"]] == ["limit ≤ 4", "limit ≥ 0.500"]


def test_best_so_far_is_feasible_and_never_worsens():
    found = [
        failed(0),
        evaluation(2.0, 1.0, 1),
        evaluation(8.0, 9.0, 2),
        evaluation(1.0, 1.0, 3),
        evaluation(3.0, 1.0, 4),
    ]
    data = ReportData(title="t", run="r", objectives=(A,), evaluations=found, limits=(Limit("cost", "<=", 5.0),))
    best = next(t for t in progress(data, A)["data"] if t["mode"] == "lines")
    assert (best["x"], best["y"]) == ([2, 3, 4, 5], [2.0, 2.0, 2.0, 3.0])


def test_effects_by_hand():
    found = [
        evaluation(g, c, width=w, kernel=k) for g, c, w, k in ((1, 5, 8, 3), (2, 5, 8, 5), (5, 5, 16, 3), (6, 5, 16, 5))
    ]
    width, kernel = main_effects(found, ["gain", "cost"])
    assert [(o.option, o.mean, o.n) for o in width[0].options] == [(8, 1.5, 2), (16, 5.5, 2)]
    assert width[0].share == pytest.approx(1 - (1 / 2) / (17 / 3))  # within 1 over 2, total 17 over 3
    assert width[1].share == 0  # the cost is the same everywhere
    assert kernel[0].share == 0  # less than chance explains
    assert (width[0].choice, kernel[0].choice) == ("width", "kernel")


def test_inactive_choices_and_failures_do_not_count():
    found = [
        evaluation(1.0, 1.0, depth=1),
        evaluation(2.0, 1.0, depth=2, kernel=3),
        evaluation(4.0, 1.0, depth=2, kernel=5),
        failed(3),
    ]
    by_name = {e[0].choice: e[0] for e in main_effects(found, ["gain"])}
    assert sum(o.n for o in by_name["kernel"].options) == 2
    assert set(by_name) == {"depth", "kernel"}


def test_options_come_in_the_order_of_the_space(space, make):
    found = {e[0].choice: e[0] for e in main_effects(make().evaluations, ["latency_ms"], space)}
    assert [o.option for o in found["activation"].options] == ["relu", "silu", "hardswish"]
    assert [o.option for o in found["stage1.width"].options] == [8, 16, 24, 32]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "ms", "0"),
        (12.3456, "ms", "12.3"),
        (1234.5, "ms", "1230"),
        (-0.5, "", "-0.500"),
        (9999, "1", "9999"),
        (2.5e9, "1", "2.5G"),
        (999_999, "1", "1M"),
        (3e-12, "ms", "3e-12"),
    ],
)
def test_numbers(value, unit, text):
    assert number(value, unit) == text


def test_sentences():
    one = report([evaluation(1.0, 2.0)], limits=(Limit("cost", "<=", 4.0),))
    assert best_found(one) == "1 network: cost 2, gain 1"
    assert verdict(one) == "It meets cost ≤ 4."
    assert limit_text(Limit("latency_ms", "<=", 60.0, relative=True), "ms") == "latency_ms ≤ 60 % of the largest"


def test_the_terminal_shows_every_network_and_the_limit(make):
    data = make()
    out = io.StringIO()
    Console(file=out, width=80).print(front_table(data))
    text = out.getvalue()
    assert "…" not in text  # a usual terminal holds the usual metrics
    assert text.startswith(f"{len(data.handed_out)} networks from ")
    for n in data.handed_out:
        assert n.name in text
    assert "dropped" in text
    assert "≤" in text
    assert "[bold]" not in text


def test_the_terminal_shows_markup_in_names_as_it_is():
    some = evaluation(1.0, 2.0)
    out = io.StringIO()
    Console(file=out, width=80).print(front_table(report([some], networks=[FinalNetwork("[red]n[/red]", some)])))
    assert "[red]n[/red]" in out.getvalue()
