"""What a finished comparison says: as data, as Markdown, as a page."""

import json

import numpy as np
import pytest

from archsmith.comparison import figures, parse_entry, parse_problem, read_summary, search_table, summarise
from archsmith.comparison.landscape import Landscape
from archsmith.comparison.markdown import as_markdown
from archsmith.comparison.page import html, write_reports
from archsmith.comparison.record import SearchRecord, read_records, write_record
from archsmith.errors import RunMismatch
from archsmith.pareto import hypervolume, is_non_dominated

LABELS = ["<NSGA-II>", "nsga2:population=4", "random"]


def test_figures_follow_from_the_records(finished):
    folder, summary = finished
    assert [s["label"] for s in summary["strategies"]] == LABELS
    assert len(summary["results"]) == 9
    for result in summary["results"]:
        hits = result["evaluations_to"]
        reached = [h["median"] or np.inf for h in (hits[level] for level in ("90", "95", "99", "99.9"))]
        assert reached == sorted(reached)
        assert result["seeds"] == [0, 1, 2, 3]
        curve = result["curve"]
        assert curve["at"][-1] == result["budget"] == 24
        assert curve["median"] == sorted(curve["median"])
        assert curve["median"][-1] == pytest.approx(result["hypervolume"]["median"], abs=1e-4)
        assert result["cpu_s"]["median"] > 0
        assert all(gain["median"] > 0 for gain in result["improvement"].values())
    [record, *_] = [r for r in read_records(folder) if len(r.objectives) == 2 and r.label == "random"]
    table = parse_problem(" ".join([record.benchmark, *record.objectives]))
    assert summary["problems"][0]["architectures"] == 48
    assert summary["problems"][0]["true_front"]
    assert table.name == record.problem


def test_by_hand(tiny, tmp_path):
    """The figures of one search, computed again in another way."""
    problem = tiny[0]
    benchmark = problem.open()
    record = search_table(parse_entry("random"), problem, 3)
    write_record(tmp_path, record)
    [result] = summarise(tmp_path, date="2026-01-31", trust=True)["results"]
    columns = np.column_stack([-benchmark.columns["val_acc"], benchmark.columns["latency_ms"]])
    whole = columns[~np.isnan(columns).any(axis=1)]
    scaled = (whole - whole.min(axis=0)) / np.ptp(whole, axis=0)
    assert whole[:, 1].max() < 10 * whole[:, 1].min()  # nothing is logarithmic here
    values = np.column_stack([benchmark.columns["val_acc"], benchmark.columns["latency_ms"]])
    land = Landscape.of(values, problem.objectives)
    np.testing.assert_allclose(land.costs(values)[~np.isnan(columns).any(axis=1)], scaled)
    met = columns[list(record.positions)]
    met = (met[~np.isnan(met).any(axis=1)] - whole.min(axis=0)) / np.ptp(whole, axis=0)
    share = hypervolume(met, [1.1, 1.1]) / hypervolume(scaled, [1.1, 1.1])
    assert 0.8 < share < 1
    assert result["hypervolume"]["median"] == pytest.approx(share, abs=1e-5)
    short = np.maximum(met - scaled[is_non_dominated(scaled)][:, None], 0)
    assert result["igd_plus"]["median"] == pytest.approx(np.sqrt((short**2).sum(axis=2)).min(axis=1).mean(), abs=1e-6)


def test_a_single_objective_counts_until_near_enough(tiny, tmp_path):
    from dataclasses import replace

    problem = replace(tiny[1], within=1.0)
    column = problem.open().columns["val_acc"]
    record = search_table(parse_entry("random"), problem, 0, budget=48)
    write_record(tmp_path, record)
    summary = summarise(tmp_path, date="2026-01-31", trust=True)
    near = np.flatnonzero(column[list(record.positions)] >= column.max() - 1.0)[0] + 1
    [result] = summary["results"]
    assert result["evaluations_to"]["within"]["median"] == near
    assert result["box_hypervolume"] is None
    assert f"| {problem.name} | {near} |" in as_markdown(summary, title="T", intro="I")


def test_the_front_of_a_surrogate_is_the_union_of_all_searches(tiny, tmp_path, monkeypatch):
    from archsmith.testing.tables import TinyTable

    monkeypatch.setattr(TinyTable, "exhaustive", False)
    for seed in range(2):
        record = search_table(parse_entry("random"), tiny[0], seed, budget=12)
        assert len(record.values) == len(record.rows) == 12
        write_record(tmp_path, record)
        assert SearchRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    summary = summarise(tmp_path, date="2026-01-31", trust=True)
    assert not summary["problems"][0]["true_front"]
    assert summary["results"][0]["hypervolume"]["high"] <= 1
    assert "the union of all searches" in as_markdown(summary, title="T", intro="I")


def test_tests_pair_problems_and_seeds(finished):
    _, summary = finished
    for test in summary["tests"].values():
        assert len(test["problems"]) == 3
        assert test["left_out"] == []
        assert sorted(test["mean_ranks"]) == LABELS
        assert sum(test["mean_ranks"].values()) == pytest.approx(6)
        assert all(p["wins"] + p["losses"] + p["ties"] == 12 for p in test["pairs"])
        assert len(test["pairs"]) == 3


def test_pages_hold_everything_and_escape_it(finished, tmp_path):
    _, summary = finished
    written = write_reports(summary, tmp_path)
    assert [p.name for p in written] == ["summary.json", "report.md", "report.html"]
    assert read_summary(tmp_path / "summary.json") == json.loads(json.dumps(summary))
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    for label in LABELS:
        assert label.replace("<", "&lt;") in text
    for problem in summary["problems"]:
        assert f"| {problem['name']} |" in text
    shown = html(summary)
    assert "&lt;NSGA-II&gt;" in shown
    assert "<NSGA-II>" not in shown
    assert "http:" not in shown.split("<script")[0]


def test_a_summary_of_another_form(tmp_path):
    (tmp_path / "summary.json").write_text('{"format": 0}', encoding="utf-8")
    with pytest.raises(RunMismatch, match="make it anew"):
        read_summary(tmp_path / "summary.json")


def test_no_two_strategies_look_the_same_where_there_are_many():
    looks = figures.looks([f"s{i}" for i in range(15)])
    assert len({(color, symbol) for color, _, symbol in looks.values()}) == 15
    assert len({(color, dash) for color, dash, _ in looks.values()}) == 15
