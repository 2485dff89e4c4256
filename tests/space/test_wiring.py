"""The graph view of a space: what the choices of a row become as an operator graph."""

import json

import numpy as np
import pytest

from archsmith.encoding.path_statistics import PathStatistics
from archsmith.errors import InvalidSpace, UnknownName
from archsmith.graph import ABSENT
from archsmith.space import Choice, ChoiceSpace, Node, Wiring, from_json

OPS = ("skip", "none", "conv")
EDGES = {
    "a": ("input",),
    "b": ("input",),
    "c": ("a",),
}
CELL = ChoiceSpace(
    [Choice(name, OPS, "categorical") for name in EDGES],
    name="cell",
    wiring=Wiring(
        [Node(n, (n,), inputs, none=("none",), identity=("skip",)) for n, inputs in EDGES.items()], ("b", "c")
    ),
)
LINKED = ChoiceSpace(
    [
        Choice("op_0", ("gcn", "fc"), "categorical"),
        Choice("link", ("raw", "first"), "categorical"),
        Choice("op_1", ("gcn", "fc"), "categorical"),
    ],
    wiring=Wiring([Node("n0", ("op_0",)), Node("n1", ("op_1",), ("input", "n0"), link="link")]),
)
CHAIN = ChoiceSpace(
    [
        Choice("depth", (1, 2)),
        Choice("k0", (3, 5)),
        Choice("e0", (4, 6)),
        Choice("k1", (3, 5), when=("depth", (2,))),
        Choice("e1", (4, 6), when=("depth", (2,))),
    ],
    wiring=Wiring([Node("b0", ("k0", "e0")), Node("b1", ("k1", "e1"), ("b0",))], ("b1",)),
)


def named(graphs, i):
    return [graphs.operations[x] if x != ABSENT else None for x in graphs.labels[i]]


def arrows(graphs, i):
    return {(int(a), int(b)) for a, b in np.argwhere(graphs.edges[i])}


def test_operations_may_have_the_names_of_the_ends():
    """An operation called as an end of the graph, or as a skipped node, is an operation as any other."""
    options = ("input", "output", "skipped", "conv")
    space = ChoiceSpace([Choice("a", options, "categorical")], wiring=Wiring([Node("a", ("a",))]))
    graphs = space.graphs(space.enumerate_rows())
    assert [named(graphs, i)[1] for i in range(4)] == ["'input'", "'output'", "'skipped'", "conv"]
    assert len(set(graphs.labels[:, 1]) - {0, 1, 2}) == 4
    assert not graphs.identities[graphs.labels[:, 1]].any()
    features = PathStatistics(space).encode(space.enumerate_rows())
    assert len(np.unique(features, axis=0)) == 4


def test_operators_on_edges_and_dead_ones():
    rows = CELL.rows(
        [CELL.architecture(x) for x in ({"a": "conv", "b": "skip", "c": "none"}, dict.fromkeys("abc", "conv"))]
    )
    graphs = CELL.graphs(rows)
    assert named(graphs, 0) == ["input", "conv", "skip", None, "output"]
    assert arrows(graphs, 0) == {(0, 1), (0, 2), (2, 4)}
    assert graphs.live.tolist() == [[True, False, True, False, True], [True] * 5]
    assert named(graphs.alive, 0) == ["input", None, "skip", None, "output"]
    assert arrows(graphs.alive, 0) == {(0, 2), (2, 4)}
    assert [o for o, same in zip(graphs.operations, graphs.identities, strict=True) if same] == ["skipped", "skip"]


def test_links_are_choices_and_leaves_feed_the_output():
    values = {"op_0": "gcn", "op_1": "fc"}
    graphs = LINKED.graphs(LINKED.rows([LINKED.architecture(values | {"link": x}) for x in ("raw", "first")]))
    assert arrows(graphs, 0) == {(0, 1), (0, 2), (1, 3), (2, 3)}
    assert arrows(graphs, 1) == {(0, 1), (1, 2), (2, 3)}


def test_an_inactive_node_hands_on():
    rows = CHAIN.rows([CHAIN.architecture({"depth": 1, "k0": 3, "e0": 6}), CHAIN.largest()])
    graphs = CHAIN.graphs(rows)
    assert named(graphs, 0) == ["input", "3/6", "skipped", "output"]
    assert named(graphs, 1) == ["input", "5/6", "5/6", "output"]
    assert graphs.live.all()


def test_every_row_of_a_space_has_an_acyclic_graph_between_what_is_there():
    for space in (CELL, LINKED, CHAIN):
        graphs = space.graphs(space.enumerate_rows())
        assert len(graphs) == len(graphs[:]) == space.size().value
        assert not np.tril(graphs.edges.any(axis=0)).any()
        there = graphs.labels != ABSENT
        assert not (graphs.edges & ~(there[:, :, None] & there[:, None, :])).any()


def test_the_wiring_survives_json_and_is_no_part_of_the_identity():
    again = from_json(json.loads(json.dumps(CELL.to_json())))
    assert again.wiring == CELL.wiring
    plain = ChoiceSpace(CELL.choices)
    assert plain.fingerprint == CELL.fingerprint
    assert (plain * CHAIN).wiring == CHAIN.wiring
    with pytest.raises(InvalidSpace, match="no graph view"):
        plain.graphs(plain.enumerate_rows())


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: Wiring([]), InvalidSpace, "at least one node"),
        (lambda: Wiring([Node("a", ("a",)), Node("a", ("b",))]), InvalidSpace, "a name of its own"),
        (lambda: Wiring([Node("a", ("a",), ("b",)), Node("b", ("b",))]), UnknownName, "declared earlier"),
        (lambda: Wiring([Node("a", ("a",))], ("z",)), UnknownName, "input of the output"),
        (lambda: ChoiceSpace(CELL.choices, wiring=Wiring([Node("n", ("d",))])), UnknownName, "choice of node 'n'"),
        (
            lambda: ChoiceSpace(CELL.choices, wiring=Wiring([Node("n", ("a",), link="b")])),
            InvalidSpace,
            "give one an input",
        ),
    ],
)
def test_what_cannot_be_wired_is_refused(make, error, said):
    with pytest.raises(error, match=said):
        make()
