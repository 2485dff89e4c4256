"""Signatures of graphs are equal for isomorphic graphs, and for no others."""

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from archsmith.graph import ABSENT, GraphBatch, signatures

OPERATIONS = ("input", "output", "conv", "pool", "skip")
IDENTITIES = np.array([False, False, False, False, True])


def batch(labels, edges):
    return GraphBatch(OPERATIONS, IDENTITIES, np.array(labels, dtype=np.int16), np.array(edges, dtype=bool))


@st.composite
def graphs(draw, places=7):
    """One graph over ``places``; the nodes of the middle are there or not, and read any earlier ones."""
    labels = [0, *draw(st.lists(st.sampled_from([2, 3, 4, ABSENT]), min_size=places - 2, max_size=places - 2)), 1]
    edges = np.zeros((places, places), dtype=bool)
    for b in range(1, places):
        for a in range(b):
            edges[a, b] = labels[a] != ABSENT and labels[b] != ABSENT and draw(st.booleans())
    return labels, edges


def reordered(labels, edges, rng):
    """The same graph with its nodes at other places, in another order that they can be computed in."""
    v = len(labels)
    order, left = [0], set(range(1, v - 1))
    while left:
        ready = [b for b in sorted(left) if not any(edges[a, b] for a in left)]
        order.append(ready[rng.integers(len(ready))])
        left.remove(order[-1])
    order.append(v - 1)
    return [labels[k] for k in order], edges[np.ix_(order, order)]


def as_networkx(labels, edges):
    """The graph with identities bridged and dead nodes dropped, one pass at a time, as a graph with multiple edges."""
    g = nx.MultiDiGraph()
    g.add_nodes_from((k, {"op": label}) for k, label in enumerate(labels) if label != ABSENT)
    g.add_edges_from((int(a), int(b)) for a, b in np.argwhere(edges))
    ends = (0, len(labels) - 1)
    dead = [k for k in g if k not in ends and not (nx.has_path(g, 0, k) and nx.has_path(g, k, ends[1]))]
    g.remove_nodes_from(dead)
    if not nx.has_path(g, *ends):
        g.remove_nodes_from([k for k in g if k not in ends])
    for k in [k for k in g if g.nodes[k]["op"] == 4]:
        g.add_edges_from([(a, b) for a, _ in g.in_edges(k) for _, b in g.out_edges(k)])
        g.remove_node(k)
    return g


def counted(g):
    """The same as a graph of single edges that know how many they are."""
    simple = nx.DiGraph()
    simple.add_nodes_from(g.nodes(data=True))
    for a, b in g.edges():
        simple.add_edge(a, b, times=g.number_of_edges(a, b))
    return simple


@given(graphs(), st.integers(0, 2**32 - 1))
def test_the_order_of_nodes_does_not_count(graph, seed):
    other = reordered(*graph, np.random.default_rng(seed))
    first, second = signatures(batch(*[[x, y] for x, y in zip(graph, other, strict=True)]))
    assert first == second


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_signatures_agree_with_a_search_for_isomorphisms(seed):
    rng = np.random.default_rng(seed)
    some = []
    for _ in range(12):  # few operations and edges, so that many pairs are nearly alike
        labels = [0, *rng.choice([2, 2, 4, ABSENT], 4), 1]
        edges = np.triu(rng.random((6, 6)) < 0.4, 1)
        there = np.array(labels) != ABSENT
        some.append((labels, edges & there[:, None] & there[None]))
    found = signatures(batch([labels for labels, _ in some], [edges for _, edges in some]))
    plain = [counted(as_networkx(*graph)) for graph in some]
    match = {"node_match": lambda a, b: a["op"] == b["op"], "edge_match": lambda a, b: a["times"] == b["times"]}
    for i, j in zip(*np.triu_indices(len(some), 1), strict=True):
        assert (found[i] == found[j]) == nx.is_isomorphic(plain[i], plain[j], **match)


def test_graphs_that_refinement_alone_cannot_tell_apart():
    """One ring of sixteen nodes and two of eight: the surroundings of each node are the same in both."""
    v = 18
    labels = np.full((2, v), 2, dtype=np.int16)
    labels[:, 0], labels[:, -1] = 0, 1
    edges = np.zeros((2, v, v), dtype=bool)
    edges[:, 0, 1:9] = edges[:, 9:17, -1] = True
    for k in range(8):
        edges[0, 1 + k, 9 + k] = edges[0, 1 + k, 9 + (k + 1) % 8] = True
        half = k // 4 * 4
        edges[1, 1 + k, 9 + k] = edges[1, 1 + k, 9 + half + (k + 1) % 4] = True
    first, second = signatures(batch(labels, edges))
    assert first != second
