"""The public tables themselves, where they lie in ARCHSMITH_DATA or beside the repository."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from archsmith.benchmark import import_benchmark, open_benchmark, specs

DATA = Path(os.environ.get("ARCHSMITH_DATA") or Path(__file__).parents[3] / "shared" / "data")
FILES = {
    "nasbench201": "nasbench201_cifar10.parquet",
    "nasbench_macro": "nasbench_macro.parquet",
    "ofa_mobilenet_v3": "ofa_mbv3_imagenet.parquet",
    **{f"nasbench_graph:dataset={d}": f"nasbench_graph_{d}.parquet" for d in ("arxiv", "citeseer", "cora", "pubmed")},
}
if missing := [file for file in FILES.values() if not (DATA / file).exists()]:
    pytest.skip(f"needs {', '.join(missing)} in ARCHSMITH_DATA", allow_module_level=True)
pandas = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def table(folder):
    """A table by its spec, imported once."""
    opened = {}

    def get(spec):
        if spec not in opened:
            import_benchmark(spec, DATA, folder)
            opened[spec] = open_benchmark(spec, folder)
        return opened[spec]

    return get


@pytest.mark.parametrize("spec", specs())
def test_every_architecture_has_the_published_values(table, spec):
    benchmark, frame = table(spec), pandas.read_parquet(DATA / FILES[spec])
    assert len(benchmark.rows) == len(frame)
    for choices in benchmark.space.architectures(benchmark.rows[:20]):
        assert benchmark.space.contains(choices)
    if benchmark.exhaustive:
        np.testing.assert_array_equal(benchmark.rows, benchmark.space.enumerate_rows())
    for name, column in benchmark.columns.items():
        assert sorted(column[~np.isnan(column)]) == sorted(frame[name].dropna()), name


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["nasbench201", "ofa_mobilenet_v3", "nasbench_graph:dataset=arxiv"])
def test_opening_takes_a_small_part_of_what_importing_took(table, folder, tmp_path, spec):
    table(spec)

    def imports():
        import_benchmark(spec, DATA, tmp_path)

    def opens():
        opened = open_benchmark(spec, folder)
        opened.find(opened.rows[:1])

    def cpu_s(work):
        start = time.process_time()
        work()
        return time.process_time() - start

    assert min(cpu_s(opens) for _ in range(3)) < 0.5 * cpu_s(imports)


def test_cells_of_nasbench201_are_where_their_strings_say(table):
    benchmark = table("nasbench201")
    frame = pandas.read_parquet(DATA / FILES["nasbench201"]).sample(300, random_state=0)
    for text, accuracy in zip(frame["arch_str"], frame["val_acc"], strict=True):
        ops = [op.partition("~")[0] for part in text.split("+") for op in part.strip("|").split("|")]
        named = dict(zip(("op_0_1", "op_0_2", "op_1_2", "op_0_3", "op_1_3", "op_2_3"), ops, strict=True))
        row = benchmark.space.rows([benchmark.space.architecture(named)])
        assert benchmark.values(row, ["val_acc"])[0, 0] == accuracy


def test_proxies_are_missing_exactly_for_cells_with_dead_operations(table):
    """The graph view of the space against what the publishers say of their cells."""
    benchmark = table("nasbench201")
    graphs = benchmark.space.graphs(benchmark.rows)
    dead = ((graphs.labels[:, 1:-1] >= 0) & ~graphs.live[:, 1:-1]).any(axis=1)
    flops = benchmark.columns["zc_flops"]
    np.testing.assert_array_equal(np.isnan(flops), dead)
    assert np.isnan(flops).sum() == 6180


def test_every_structure_of_nasbench_graph_is_found_by_its_key(table):
    benchmark = table("nasbench_graph:dataset=cora")
    frame = pandas.read_parquet(DATA / FILES[benchmark.spec])
    assert [str(link) for link in frame["link"].unique()] == list(benchmark.space.choices[0].options)
    for line in frame.sample(100, random_state=0).to_dict("records"):
        named = {name: line[name] for name in benchmark.space.names}
        row = benchmark.space.rows([benchmark.space.architecture(named)])
        assert benchmark.values(row, ["valid_perf", "latency"])[0].tolist() == [line["valid_perf"], line["latency"]]


def test_sampling_and_variation_of_nasbench_graph_stay_in_the_table(table):
    benchmark = table("nasbench_graph:dataset=cora")
    rng = np.random.default_rng(0)
    rows = benchmark.space.sample_rows(300, rng)
    near = np.concatenate([benchmark.space.neighbour_rows(row) for row in rows[:20]])
    for found in (rows, benchmark.space.mutate_rows(rows, rng), near):
        assert (benchmark.find(found) >= 0).all()


def test_the_surrogate_is_as_good_as_it_says(table):
    benchmark = table("ofa_mobilenet_v3")
    assert benchmark.facts["cross_validated"]["rmse"] == pytest.approx(0.064, abs=0.003)
    assert benchmark.facts["cross_validated"]["kendall_tau"] == pytest.approx(0.968, abs=0.003)
    assert benchmark.facts["other_run"]["rmse"] == pytest.approx(0.106, abs=0.005)
    rows = benchmark.space.sample_rows(500, np.random.default_rng(0), uniform="architecture")
    top1, macs = benchmark.values(rows, ["top1", "macs"]).T
    assert ((top1 > 70) & (top1 < 79)).all()
    assert np.corrcoef(top1, macs)[0, 1] > 0.5
    np.testing.assert_array_equal(benchmark.find(rows[:5]), -1)
