"""Spaces in which isomorphic graphs are one architecture."""

import itertools
import math

import numpy as np
import pytest

from archsmith.benchmark.nasbench_graph import LINKS, OPERATIONS, NASBenchGraph
from archsmith.errors import UserError
from archsmith.graph import signatures
from archsmith.space import Choice, ChoiceSpace, Interchangeable, Isomorphic, Node, Wiring, from_json
from archsmith.testing.spaces import ChoiceSpaceConformance

OPS = ("conv", "pool", "skip")
WIRING = Wiring(
    [
        Node("a", ("a",), identity=("skip",)),
        Node("b", ("b",), ("input", "a"), link="b.in", identity=("skip",)),
        Node("c", ("c",), ("a", "b"), link="c.in", identity=("skip",)),
    ]
)


def linked(rules=()):
    choices = [Choice(name, OPS, "categorical") for name in "abc"]
    choices += [Choice("b.in", ("input", "a"), "categorical"), Choice("c.in", ("a", "b"), "categorical")]
    return ChoiceSpace([*choices, Choice("width", (8, 16))], rules, [Isomorphic(WIRING)], wiring=WIRING)


def chain():
    """A chain of elastic depth, in which a skip and an end one node earlier are the same."""
    choices = [Choice("depth", (1, 2, 3)), Choice("k0", OPS, "categorical")]
    choices += [Choice(f"k{i}", OPS, "categorical", when=("depth", tuple(range(i + 1, 4)))) for i in (1, 2)]
    nodes = [Node(f"n{i}", (f"k{i}",), (f"n{i - 1}" if i else "input",), identity=("skip",)) for i in range(3)]
    return ChoiceSpace(choices, (), [Isomorphic(Wiring(nodes, ("n2",)))])


@pytest.fixture(params=[linked, chain, lambda: NASBenchGraph().space], ids=["linked", "chain", "benchmark"])
def space(request):
    return request.param()


class TestIsomorphicSpaces(ChoiceSpaceConformance):
    @pytest.fixture(params=[linked, chain, lambda: linked(["width == 8 or a != 'skip'"])])
    def space(self, request):
        return request.param()


def classes(space):
    """Every written form of every class, by the signature of its graph and what stands outside of the wiring."""
    plain = ChoiceSpace(space.choices)
    rows = plain.enumerate_rows()
    wiring = space.symmetries[0].wiring
    marks = signatures(wiring.graphs(space.choices, rows, plain.active(rows)))
    outside = rows[:, [j for j, c in enumerate(space.choices) if c.name == "width"]]
    found = {}
    for row, mark, rest in zip(rows.tolist(), marks.tolist(), outside.tolist(), strict=True):
        found.setdefault((mark, *rest), []).append(row)
    return found


def test_the_first_form_stands_for_all(space):
    found = classes(space)
    for forms in itertools.islice(found.values(), 500):
        canonical = space.canonical_rows(np.array(forms, dtype=np.int16))
        assert (canonical == min(forms)).all()
    if not space.constraints:
        assert space.size().value == len(found)


def test_neighbours_are_those_of_every_form():
    space, plain = linked(), ChoiceSpace(linked().choices)
    for forms in classes(space).values():
        near = np.concatenate([plain.neighbour_rows(np.array(row)) for row in forms])
        expected = {tuple(row) for row in space.canonical_rows(near).tolist()} - {tuple(min(forms))}
        assert {tuple(row) for row in space.neighbour_rows(np.array(forms[-1])).tolist()} == expected


def test_neighbourhood_is_mutual():
    space = linked()
    near = {tuple(r): {tuple(n) for n in space.neighbour_rows(r).tolist()} for r in space.enumerate_rows()}
    assert all(row in near[other] for row, others in near.items() for other in others)


def test_mutants_come_from_every_form():
    space = linked()
    row = space.rows(
        [space.architecture({"a": "conv", "b": "skip", "c": "skip", "b.in": "a", "c.in": "b", "width": 8})]
    )
    mutants = space.mutate_rows(np.repeat(row, 4000, axis=0), np.random.default_rng(0), probability=0.0)
    assert {tuple(m) for m in mutants.tolist()} == {tuple(n) for n in space.neighbour_rows(row[0]).tolist()}


def test_a_chain_that_skips_is_a_shorter_chain():
    space = chain()
    long = space.architecture({"depth": 3, "k0": "skip", "k1": "conv", "k2": "skip"})
    assert long == space.architecture({"depth": 1, "k0": "conv"})
    assert space.size().value == 1 + 2 + 4 + 8  # words of up to three letters


def graph_network(link, *ops):
    space = NASBenchGraph().space
    return space.architecture({"link": link} | {f"op_{i}": op for i, op in enumerate(ops)})


def test_one_published_network_in_several_forms():
    assert graph_network("0123", "gcn", "skip", "gin", "fc") == graph_network("0123", "gcn", "gin", "fc", "skip")
    assert graph_network("0112", "skip", "gcn", "gin", "fc") == graph_network("0012", "gcn", "gin", "fc", "skip")
    assert graph_network("0111", "gcn", "fc", "fc", "fc") != graph_network("0111", "gcn", "fc", "fc", "skip")


def test_there_are_as_many_networks_as_were_published():
    space = NASBenchGraph().space
    assert space.size().value == 26206
    assert math.prod(space.cardinalities.tolist()) == len(LINKS) * len(OPERATIONS) ** 4


def test_it_survives_json_and_counts_in_the_fingerprint():
    space = linked()
    again = from_json(space.to_json())
    assert again == space
    assert again.symmetries == space.symmetries
    assert ChoiceSpace(space.choices, wiring=WIRING).fingerprint != space.fingerprint


@pytest.mark.parametrize(
    ("choices", "symmetries", "says"),
    [
        ([], [Isomorphic(WIRING), Isomorphic(WIRING)], "two symmetries"),
        ([], [Isomorphic(WIRING), Interchangeable((("a",), ("b",)))], "two symmetries"),
        ([], [Interchangeable((("a",), ("b",))), Isomorphic(WIRING)], "two symmetries"),
        ([Choice("size", (1, 2), when=("a", ("conv",)))], [Isomorphic(WIRING)], "make it part of the wiring"),
        ([], [Isomorphic(Wiring([Node("x", ("x",))]))], "'x'"),
    ],
)
def test_what_cannot_be_is_refused(choices, symmetries, says):
    with pytest.raises(UserError, match=says):
        ChoiceSpace([*linked().choices, *choices], (), symmetries)


def test_too_many_settings_are_refused_with_their_number():
    names = [f"op{i}" for i in range(8)]
    wiring = Wiring([Node(n, (n,)) for n in names])
    with pytest.raises(UserError, match="390,625"):
        ChoiceSpace([Choice(n, ("a", "b", "c", "d", "e"), "categorical") for n in names], (), [Isomorphic(wiring)])
