"""Encodings of operator graphs, against the same things found by walking every path of every graph."""

from collections import Counter

import numpy as np
import pytest

from archsmith.encoding.adjacency import Adjacency
from archsmith.encoding.concatenated import Concatenated
from archsmith.encoding.graph_features import GraphFeatures
from archsmith.encoding.known_values import KnownValues
from archsmith.encoding.path import Path
from archsmith.encoding.weisfeiler_lehman import WeisfeilerLehman
from archsmith.errors import InvalidOption, UnknownName
from archsmith.testing.encodings import deep_space, wired_space

SPACE = wired_space()
ROWS = SPACE.enumerate_rows()
GRAPHS = SPACE.graphs(ROWS)


def walks(graphs, i):
    """The places of each path from input to output."""
    last = graphs.labels.shape[1] - 1

    def onward(path):
        if path[-1] == last:
            yield path[1:-1]
            return
        for b in np.flatnonzero(graphs.edges[i, path[-1]]):
            yield from onward([*path, int(b)])

    return list(onward([0]))


def operators(graphs, i, walk):
    return [graphs.operations[graphs.labels[i, place]] for place in walk]


def test_adjacency_holds_the_edges_and_operators_that_count():
    for written, graphs in ((False, GRAPHS.alive), (True, GRAPHS)):
        encoding = Adjacency(SPACE, written=written)
        nodes = ["input", "stem", "left", "right", "tail", "output"]
        assert {n.partition(":")[0] for n in encoding.names if ":" in n} == set(nodes[1:-1])
        for i, vector in enumerate(encoding.encode(ROWS)):
            expected = {f"{nodes[a]}->{nodes[b]}" for a, b in np.argwhere(graphs.edges[i])}
            expected |= {f"{nodes[p]}: {graphs.operations[x]}" for p, x in enumerate(graphs.labels[i]) if x > 1}
            assert {n for n, v in zip(encoding.names, vector, strict=True) if v} == expected


def motif(graphs, i, place, depth):
    read = [motif(graphs, i, int(a), depth - 1) for a in np.flatnonzero(graphs.edges[i, :, place])] if depth else []
    return graphs.operations[graphs.labels[i, place]] + (f"({', '.join(sorted(read))})" if read else "")


@pytest.mark.parametrize("written", [False, True])
def test_motifs_are_counted_until_they_have_reached_the_input(written):
    encoding = WeisfeilerLehman(SPACE, rounds=3, most=2000, written=written)
    graphs = GRAPHS if written else GRAPHS.alive
    vectors = encoding.encode(ROWS)
    assert len(encoding.rounds) == len(encoding.names)
    for i in range(0, len(ROWS), 5):
        there = np.flatnonzero(graphs.labels[i] >= 0)[1:]
        expected = Counter(motif(graphs, i, int(p), 0) for p in there[:-1])
        for depth in (1, 2, 3):
            longer = {p: motif(graphs, i, int(p), depth) for p in there}
            expected.update(longer[p] for p in there if longer[p] != motif(graphs, i, int(p), depth - 1))
        found = {n: v for n, v in zip(encoding.names, vectors[i], strict=True) if v}
        assert found == expected


def test_motifs_outside_the_vocabulary_are_counted_together():
    few, many = WeisfeilerLehman(SPACE, rounds=1, most=5), WeisfeilerLehman(SPACE, rounds=1)
    assert few.rounds == [0] * 6 + [1] * 6
    assert set(few.names) <= set(many.names)
    for depth in (0, 1):
        totals = [e.encode(ROWS)[:, np.array(e.rounds) == depth].sum(axis=1) for e in (few, many)]
        np.testing.assert_array_equal(*totals)
    assert few.encode(ROWS)[:, few.names.index("other motifs of round 1")].any()
    assert not many.encode(ROWS)[:, many.names.index("other motifs of round 1")].any()


def test_motifs_of_a_space_too_large_to_enumerate_are_named_and_stay():
    space = deep_space()
    first, again = WeisfeilerLehman(space, sample=50), WeisfeilerLehman(space, sample=50)
    assert first.names == again.names
    assert "5(3)" in first.names
    assert "output(skipped(skipped))" in first.names


@pytest.mark.parametrize("most", [1000, 30, 6])
def test_paths_are_counted_whole_or_by_their_runs(most):
    encoding = Path(SPACE, most=most)
    length = max(name.count(">") - 1 for name in encoding.names if name.startswith("input"))
    vectors = encoding.encode(ROWS)
    cut = 0
    for i in range(len(ROWS)):
        expected = Counter()
        for walk in walks(GRAPHS, i):
            sequence = [
                name for name in operators(GRAPHS, i, walk) if not GRAPHS.identities[GRAPHS.operations.index(name)]
            ]
            if len(sequence) <= length:
                expected[">".join(["input", *sequence, "output"])] += 1
            else:
                cut += 1
                for start in range(len(sequence) - length + 1):
                    expected[f"...{'>'.join(sequence[start : start + length])}..."] += 1
        assert {n: v for n, v in zip(encoding.names, vectors[i], strict=True) if v} == expected
    assert (cut > 0) == (most < 1000)


def test_a_chain_too_long_for_whole_sequences_keeps_its_runs():
    space = deep_space()
    encoding = Path(space, most=100)
    vector = encoding.encode(space.rows([space.largest()]))[0]
    assert {n: float(v) for n, v in zip(encoding.names, vector, strict=True) if v} == {"...9>9>9...": 10.0}


def test_graph_features_are_what_one_finds_by_walking():
    encoding = GraphFeatures(SPACE, exhaustive=8)
    columns = dict(zip(encoding.names, encoding.encode(ROWS).T, strict=True))
    everything = [name for name in GRAPHS.operations[2:] if f"alive({name})" in columns]
    assert everything == [*GRAPHS.operations[2:]]
    none = GRAPHS.labels.shape[1] - 1
    for i in range(0, len(ROWS), 7):
        found = walks(GRAPHS, i)
        lists = [operators(GRAPHS, i, walk) for walk in found]
        places = {place for walk in found for place in walk}
        alive = Counter(operators(GRAPHS, i, places))
        written = Counter(GRAPHS.operations[x] for x in GRAPHS.labels[i, 1:-1] if x >= 0)
        assert columns["alive"][i] == len(places)
        assert columns["written"][i] == sum(written.values())
        assert columns["edges"][i] == len(
            {edge for walk in found for edge in zip([0, *walk], [*walk, none], strict=True)}
        )
        assert columns["log paths"][i] == pytest.approx(np.log1p(len(found)))
        for name in everything:
            assert columns[f"alive({name})"][i] == alive[name]
            assert columns[f"written({name})"][i] == written[name]
            for kind, end in (("first", 0), ("last", -1)):
                ends = {walk[end] for walk in found if walk}
                assert columns[f"{kind}({name})"][i] == operators(GRAPHS, i, ends).count(name)
        for text in (t for t in columns if t.startswith("most(")):
            chosen = text[5:-1].split("+")
            counts = [sum(name in chosen for name in names) for names in lists]
            inside = [len(names) for names in lists if all(name in chosen for name in names)]
            assert columns[text][i] == max(counts, default=0)
            assert columns[f"fewest{text[4:]}"][i] == min(counts, default=none)
            assert columns[f"shortest{text[4:]}"][i] == min(inside, default=none)


def test_many_operators_are_not_taken_by_all_their_sets():
    few, many = GraphFeatures(SPACE, exhaustive=1), GraphFeatures(SPACE, exhaustive=8)
    assert len(few.names) < len(many.names) / 5
    assert "most(conv)" in few.names
    assert set(few.names) <= set(many.names)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GraphFeatures(SPACE, exhaustive=0),
        lambda: GraphFeatures(SPACE, exhaustive=9),
        lambda: Path(SPACE, most=1),
        lambda: WeisfeilerLehman(SPACE, rounds=-1),
        lambda: WeisfeilerLehman(SPACE, most=0),
    ],
)
def test_options_are_checked(make):
    with pytest.raises(InvalidOption, match=r"(exhaustive=0|exhaustive=9|most=1|rounds=-1|most=0) .* [0-9]"):
        make()


def test_known_values_of_a_table_and_of_a_function_are_the_same():
    table = KnownValues(SPACE, columns={"sum": ROWS.sum(axis=1), "first": ROWS[:, 0]}, rows=ROWS)

    def function(rows):
        return np.stack([rows.sum(axis=1), rows[:, 0]], axis=1)

    computed = KnownValues(SPACE, function=function, names=["sum", "first"])
    assert table.names == computed.names == ["sum", "first"]
    np.testing.assert_array_equal(table.encode(ROWS[::3]), computed.encode(ROWS[::3]))


def test_what_is_not_known_is_nan():
    values = [1.0, np.nan, np.inf]
    encoding = KnownValues(SPACE, columns={"flops": values}, rows=ROWS[:3])
    np.testing.assert_array_equal(encoding.encode(ROWS[:5]).ravel(), [1, np.nan, np.nan, np.nan, np.nan])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs columns"),
        ({"columns": {"a": [1.0]}}, "needs columns"),
        ({"columns": {"a": [1.0, 2.0]}, "rows": ROWS[:1]}, "shape .2,. for 1 rows"),
        ({"function": np.asarray}, "function and names"),
        ({"function": np.asarray, "names": ["a"], "rows": ROWS}, "one of the two"),
    ],
)
def test_known_values_say_what_they_need(options, said):
    with pytest.raises(InvalidOption, match=said):
        KnownValues(SPACE, **options)
    with pytest.raises(InvalidOption, match="returned the shape"):
        KnownValues(SPACE, function=np.asarray, names=["a"]).encode(ROWS)


def test_concatenated_keeps_columns_and_their_origin():
    known = KnownValues(SPACE, columns={"flops": np.arange(3.0)}, rows=ROWS[:3])
    encoding = Concatenated(SPACE, parts=["ordinal", known])
    assert encoding.widths == [len(SPACE.names), 1]
    assert encoding.names == [*(f"ordinal: {n}" for n in SPACE.names), "known_values: flops"]
    assert np.isnan(encoding.encode(ROWS[:4])[:, -1]).tolist() == [False, False, False, True]


@pytest.mark.parametrize("parts", [[], "one_hot"])
def test_concatenated_needs_a_list(parts):
    with pytest.raises(InvalidOption, match="no list of encodings"):
        Concatenated(SPACE, parts=parts)


def test_concatenated_suggests_a_name():
    with pytest.raises(UnknownName, match="one_hot"):
        Concatenated(SPACE, parts=["onehot"])
