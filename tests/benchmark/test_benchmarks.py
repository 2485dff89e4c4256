"""Benchmarks: opened by name, looked up for many rows, evaluated one by one; their spaces are whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsmith.architecture import Architecture, Proposal
from archsmith.benchmark import describe_benchmark, import_benchmark, open_benchmark, specs
from archsmith.benchmark._rows import Index
from archsmith.errors import DamagedFile, InvalidArchitecture, InvalidData, InvalidOption, MissingTable, UnknownName
from archsmith.method import names
from archsmith.testing.spaces import ChoiceSpaceConformance
from archsmith.testing.tables import MISSING, TinyTable, tiny_benchmark, tiny_columns
from archsmith.value import Value

TINY = "archsmith.testing.tables:TinyTable"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_benchmark(tmp_path_factory.mktemp("tiny"))


def test_rows_and_columns_are_what_was_imported(tiny):
    np.testing.assert_array_equal(tiny.rows, tiny.space.enumerate_rows())
    for name, column in tiny_columns(tiny.rows).items():
        np.testing.assert_array_equal(tiny.columns[name], column)
    assert tiny.spec == TINY
    assert list(tiny.metrics) == list(tiny.columns) == ["val_acc", "latency_ms", "params"]


def test_each_row_is_found_where_it_stands(tiny):
    order = np.random.default_rng(0).permutation(len(tiny.rows))
    np.testing.assert_array_equal(tiny.find(tiny.rows[order]), order)
    found = tiny.values(tiny.rows[order], ["params", "val_acc"])
    np.testing.assert_array_equal(found[:, 1], tiny.columns["val_acc"][order])


def test_evaluations_carry_their_source(tiny):
    [architecture] = tiny.space.architectures(tiny.rows[5:6])
    found = tiny.evaluate(Proposal(architecture), ["latency_ms", "val_acc"])
    assert found.ok
    assert dict(found.values) == {m: Value(tiny.columns[m][5], "table") for m in ("latency_ms", "val_acc")}
    assert found.evaluator != tiny.evaluate(Proposal(architecture), ["val_acc"]).evaluator


def test_what_is_missing_fails_with_the_reason(tiny):
    [architecture] = tiny.space.architectures(np.array([MISSING]))
    found = tiny.evaluate(Proposal(architecture), ["val_acc", "latency_ms"])
    assert found.status == "failed"
    assert "latency_ms" in found.reason
    assert tiny.evaluate(Proposal(architecture), ["val_acc"]).ok


def test_what_cannot_be_asked_is_refused(tiny):
    [architecture] = tiny.space.architectures(tiny.rows[:1])
    with pytest.raises(UnknownName, match="latency_ms"):
        tiny.evaluate(Proposal(architecture), ["latency"])
    with pytest.raises(InvalidOption, match="fidelity"):
        tiny.evaluate(Proposal(architecture, {"epochs": 3}), ["val_acc"])
    with pytest.raises(InvalidArchitecture):
        tiny.evaluate(Proposal(Architecture("0" * 16, architecture.choices)), ["val_acc"])


def test_a_benchmark_is_opened_by_name_again(tiny, tmp_path):
    again = open_benchmark(TINY, tiny.path.parent)
    assert again.fingerprint == tiny.fingerprint
    assert open_benchmark(tiny) is tiny
    assert import_benchmark(TINY, tmp_path, tmp_path) == tmp_path / "TinyTable.table"
    changed = tmp_path / "TinyTable.table"
    changed.write_bytes(changed.read_bytes()[:-1] + b"\1")
    with pytest.raises(DamagedFile, match="archsmith bench import"):
        open_benchmark(TINY, tmp_path)


def test_a_table_of_another_space_is_refused(tiny, tmp_path):
    (tmp_path / "nasbench_macro.table").write_bytes(tiny.path.read_bytes())
    with pytest.raises(DamagedFile, match="another benchmark"):
        open_benchmark("nasbench_macro", tmp_path)


class Thrice(TinyTable):
    """A table whose source names an architecture more than once, or not all."""

    keep = slice(None)

    def read(self, sources):
        found = super().read(sources)
        rows = found.rows[self.keep]
        columns = {name: column[self.keep] for name, column in found.columns.items()}
        return type(found)(rows, columns, found.origin)


@pytest.mark.parametrize(("keep", "says"), [(slice(1, None), "47 of the 48"), ([0, *range(48)], "there twice")])
def test_incomplete_tables_are_refused(tmp_path, keep, says):
    table = Thrice(tmp_path)
    table.keep = keep
    with pytest.raises(InvalidData, match=says):
        table.build(_Nowhere())
    assert not table.path.exists()


class _Nowhere:
    place = "nowhere"


@pytest.mark.parametrize("spec", specs())
def test_a_missing_table_says_how_to_get_it(spec, tmp_path):
    (tmp_path / "empty").mkdir()
    for attempt in (
        lambda: open_benchmark(spec, tmp_path),
        lambda: import_benchmark(spec, tmp_path / "empty", tmp_path),
    ):
        with pytest.raises(MissingTable) as told:
            attempt()
        assert "GitHub repository" in str(told.value)
        assert f"archsmith bench import {spec} --from" in str(told.value)


def test_names_and_options_are_checked():
    assert {s.partition(":")[0] for s in specs()} == set(names("benchmark"))
    with pytest.raises(UnknownName, match="nasbench201"):
        open_benchmark("nasbench202")
    with pytest.raises(UnknownName, match="dataset"):
        open_benchmark("nasbench_graph:data=cora")
    with pytest.raises(UnknownName, match="citeseer"):
        open_benchmark("nasbench_graph:dataset=citeser")
    with pytest.raises(InvalidOption, match="NAME:OPTION=VALUE"):
        open_benchmark("nasbench_graph:dataset=cora,dataset=pubmed")
    assert describe_benchmark("nasbench_graph").spec == "nasbench_graph:dataset=cora"


@given(data=st.data())
def test_an_index_finds_rows_of_any_space(data):
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=60))
    rows = data.draw(st.lists(st.tuples(*(st.integers(0, s - 1) for s in sizes)), min_size=1, max_size=8))
    known = np.array(sorted(set(rows[: len(rows) // 2 + 1])), dtype=np.int16)
    index = Index(known, np.array(sizes))
    place = {tuple(row): i for i, row in enumerate(known.tolist())}
    assert index.find(np.array(rows, dtype=np.int16)).tolist() == [place.get(row, -1) for row in rows]


@pytest.mark.parametrize("name", names("benchmark"))
class TestSpaces(ChoiceSpaceConformance):
    @pytest.fixture
    def space(self, name):
        return describe_benchmark(name).space


def test_spaces_have_the_published_sizes():
    sizes = {name: describe_benchmark(name).space.size().value for name in names("benchmark")}
    assert sizes == {
        "nasbench201": 15_625,
        "nasbench_graph": 26_206,
        "nasbench_macro": 6_561,
        "ofa_mobilenet_v3": (9**2 + 9**3 + 9**4) ** 5,
    }


def test_the_graph_of_a_cell_has_an_edge_from_operation_to_operation():
    space = describe_benchmark("nasbench201").space
    row = space.rows(
        [
            space.architecture(
                {
                    **{f"op_{e}": "none" for e in ("0_2", "1_3", "0_3")},
                    "op_0_1": "nor_conv_3x3",
                    "op_1_2": "skip_connect",
                    "op_2_3": "avg_pool_3x3",
                }
            )
        ]
    )
    graph = space.graphs(row)
    labels = [graph.operations[label] if label >= 0 else None for label in graph.labels[0]]
    assert labels == ["input", "nor_conv_3x3", None, None, "skip_connect", None, "avg_pool_3x3", "output"]
    assert np.argwhere(graph.edges[0]).tolist() == [[0, 1], [1, 4], [4, 6], [6, 7]]
    assert graph.identities[graph.labels[0, 4]]


def test_leaves_of_a_graph_network_feed_the_output():
    space = describe_benchmark("nasbench_graph").space
    found = space.architecture({"link": "0112", "op_0": "gcn", "op_1": "gin", "op_2": "cheb", "op_3": "fc"})
    edges = space.graphs(space.rows([found])).edges[0]
    assert np.argwhere(edges).tolist() == [[0, 1], [1, 2], [1, 3], [2, 4], [3, 5], [4, 5]]


def test_isomorphic_graph_networks_are_one():
    space = describe_benchmark("nasbench_graph").space
    ops = {"op_0": "gcn", "op_1": "fc", "op_2": "gat", "op_3": "gin"}
    one = space.architecture({"link": "0012", **ops})  # two chains, written in either order
    other = space.architecture({"link": "0012", "op_0": "fc", "op_1": "gcn", "op_2": "gin", "op_3": "gat"})
    assert one == other


def test_blocks_beyond_the_depth_are_skipped():
    space = describe_benchmark("ofa_mobilenet_v3").space
    graph = space.graphs(space.rows([space.smallest(), space.largest()]))
    skipped = graph.operations.index("skipped")
    assert (graph.labels == skipped).sum(axis=1).tolist() == [10, 0]
    assert graph.live.all()
