"""Texts for strategies and problems, and what a strategy gets to see."""

import numpy as np
import pytest

from archsmith.comparison import PROBLEMS, parse_entries, parse_entry, parse_problem, parse_problems
from archsmith.comparison.entry import DEFAULT_STRATEGIES, QUICK_STRATEGIES
from archsmith.comparison.problem import QUICK_PROBLEMS
from archsmith.errors import InvalidOption, MissingTable, UnknownName
from archsmith.method import names


def test_a_strategy_is_one_text():
    plain = parse_entry("nsga2")
    assert (plain.label, plain.options, plain.graph, plain.free, plain.batch) == ("nsga2", {}, True, (), 1)
    full = parse_entry("linas:picks=2,optimism=0.5,predictor=ridge/no-graph/batch=4@LINAS, ridge")
    assert full.name == "linas"
    assert full.options == {"picks": 2, "optimism": 0.5, "predictor": "ridge"}
    assert (full.graph, full.batch, full.label) == (False, 4, "LINAS, ridge")
    own = parse_entry("archsmith.strategy.evolution.nsga2:Nsga2:population=6")
    assert (own.name, own.options) == ("archsmith.strategy.evolution.nsga2:Nsga2", {"population": 6})


@pytest.mark.parametrize("name", ["linas", "archsmith.strategy.predictor.linas:Linas"])
def test_values_of_options_may_hold_colons(name):
    found = parse_entry(f"{name}:predictor=archsmith.predictor.ridge:Ridge,picks=2,inner=nsga2:Nsga2=3/batch=2@x:y")
    assert (found.name, found.batch, found.label) == (name, 2, "x:y")
    assert found.options == {"predictor": "archsmith.predictor.ridge:Ridge", "picks": 2, "inner": "nsga2:Nsga2=3"}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("linus", UnknownName, "did you mean 'linas'"),
        ("nsga2:size=3", InvalidOption, "it has: population"),
        ("nsga2:population", InvalidOption, "cannot read 'population' in the strategy 'nsga2:population'; write NAME"),
        ("nsga2:population=abc", InvalidOption, "population must be a whole number, got 'abc'"),
        ("auto:graph=maybe", InvalidOption, "graph must be true or false"),
        ("nsga2:population=", InvalidOption, "NAME:OPTION=VALUE"),
        ("nsga2/nograph", UnknownName, "did you mean 'no-graph'"),
        ("nsga2/batch=0", UnknownName, "switch"),
        ("random/free", InvalidOption, "no option 'free'"),
    ],
)
def test_bad_texts_are_told(text, error, message):
    with pytest.raises(error, match=message):
        parse_entry(text)


def test_random_search_always_runs_beside():
    assert [c.label for c in parse_entries(["nsga2 linas"])] == ["nsga2", "linas", "random"]
    assert [c.label for c in parse_entries(["random nsga2"])] == ["random", "nsga2"]
    assert {c.name for c in parse_entries(["all"])} == set(names("strategy"))
    assert {c.name for c in parse_entries([])} == set(DEFAULT_STRATEGIES) & set(names("strategy"))
    assert {c.name for c in parse_entries([], QUICK_STRATEGIES)} == set(QUICK_STRATEGIES) & set(names("strategy"))
    with pytest.raises(InvalidOption, match="two strategies are called 'a'"):
        parse_entries(["nsga2@a linas@a"])


def test_problems_by_name_pattern_and_text():
    assert len(PROBLEMS) == 15
    assert [p.name for p in parse_problems(["graph-c* macro-flops"])] == ["graph-cora", "graph-citeseer", "macro-flops"]
    assert parse_problems([]) == list(PROBLEMS.values())
    assert [p.budget for p in parse_problems(QUICK_PROBLEMS, budget=9)] == [9, 9, 9]
    for problem in PROBLEMS.values():
        assert parse_problem(problem.spec).objectives == problem.objectives
    assert len({p.entropy for p in PROBLEMS.values()}) == len(PROBLEMS)
    for text, message in (("nb201-edgegpo", "did you mean 'nb201-edgegpu'"), ("nothing-*", "Known: nb201-edgegpu")):
        with pytest.raises(UnknownName, match=message):
            parse_problems([text])
    with pytest.raises(InvalidOption, match="max val_acc min fpga_latency_ms"):
        parse_problem("nasbench201 max val_acc least latency")


def test_a_missing_table_says_how_to_get_it():
    with pytest.raises(MissingTable, match="archsmith bench import nasbench_macro"):
        PROBLEMS["macro-flops"].open()


def test_a_metric_that_the_table_does_not_have(tiny):
    with pytest.raises(UnknownName, match="did you mean 'latency_ms'"):
        parse_problem(f"{tiny[0].benchmark} max val_acc min latency").open()


def test_the_graph_view_and_free_metrics_are_switches(tiny, tmp_path, monkeypatch):
    code = """
    from archsmith.strategy.random import RandomSearch as Random
    class Free(Random):
        seen = {}
        def __init__(self, space, objectives, limits=(), *, rng, free=None):
            super().__init__(space, objectives, limits, rng=rng)
            Free.seen = {"graph": space.wiring is not None, "free": free, "space": space}
    """
    lines = [line.removeprefix("    ") for line in code.strip("\n").splitlines()]
    (tmp_path / "seeing.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    from seeing import Free

    problem, rng = tiny[0], np.random.default_rng(0)
    benchmark = problem.open()
    parse_entry("seeing:Free").build(problem, benchmark, rng)
    assert Free.seen["graph"]
    assert Free.seen["free"] is None
    parse_entry("seeing:Free/no-graph/free=par*+val_acc").build(problem, benchmark, rng)
    assert not Free.seen["graph"]
    assert Free.seen["space"] == benchmark.space
    assert Free.seen["free"].names == ["params"]  # what is maximised is never free
    shown = Free.seen["free"].encode(benchmark.rows)[:, 0]
    np.testing.assert_allclose(shown, benchmark.columns["params"], rtol=1e-6)
    assert "none of the free columns zc_*" in parse_entry("seeing:Free/free=zc_*").excluded(problem, benchmark)
    assert parse_entry("seeing:Free/free").excluded(problem, benchmark) == ""
