"""Valid JSON of a wrong form: whatever reads it refuses it with an error of archsmith's own, and soon."""

import json
import time

import numpy as np
import pytest

from archsmith import space as spaces
from archsmith.architecture import Architecture, Proposal
from archsmith.errors import DamagedFile, InvalidOption, InvalidSpace, unknown
from archsmith.evaluation import Evaluation
from archsmith.metric import Limit, Objective
from archsmith.plan import Plan, TensorPlan, WeightPolicy
from archsmith.space import Choice, ChoiceSpace, Constraint, Interchangeable, Isomorphic, Node, Size, Subset, Wiring
from archsmith.testing.mutations import mutants, survives
from archsmith.value import Value

PROPOSAL = Proposal(
    Architecture("5f", (("depth", 2), ("w", (1, "b")), ("op", "conv"))), {"epochs": 3}, "ab", {"x": [1]}
)
EVALUATION = Evaluation(
    proposal=PROPOSAL,
    values={"latency_ms": Value(1.0, "measured", 0.9, 1.1), "params": Value(3, "computed")},
    evaluator="e",
    environment={"cpu": "x"},
    cost={"wall_s": 0.1},
)
CHOICES = (
    Choice("depth", (1, 2)),
    Choice("a.op", ("conv", "pool", "none"), kind="categorical"),
    Choice("b.op", ("conv", "pool", "none"), kind="categorical"),
    Choice("width", (8, 16), when=("depth", (2,))),
    Subset("branches", ("x", "y", "z"), 2),
)
WIRING = Wiring((Node("a", ("a.op",), none=("none",)), Node("b", ("b.op",), inputs=("input", "a"))), ("b",))
SPACE = ChoiceSpace(
    CHOICES,
    ["width <= 8 * depth", "a.op != 'pool' or b.op in ('conv', 'none')"],
    [Interchangeable((("a.op",), ("b.op",)), when=("depth", (1,)))],
    name="toy",
    wiring=WIRING,
)
PLAN = Plan(
    {"conv.weight": TensorPlan((3, (0, 2), None), WeightPolicy("centre_crop", {"k": 3})), "b": TensorPlan((2,))},
    {"conv": {"groups": 1, "kernel_size": (3, 3)}},
    {"switch": 1},
    {"stage": 2},
    ("skip",),
    stand_ins={"branch": (1, (0, "x"))},
    inputs={"0": (32, 32)},
)


def used(data):
    """A space as a program uses it, which is where a wrong value would come to light."""
    space = spaces.from_json(data)
    rows = space.sample_rows(4, np.random.default_rng(0))
    return (
        space.fingerprint,
        space.size(),
        [a.key for a in space.architectures(rows)],
        space.wiring and space.graphs(rows),
    )


READERS = {
    "architecture": (lambda data: Architecture.from_json(data).key, PROPOSAL.architecture),
    "proposal": (lambda data: Proposal.from_json(data).fidelity_key, PROPOSAL),
    "evaluation": (lambda data: Evaluation.from_json(data).identity, EVALUATION),
    "plan": (lambda data: Plan.from_json(data).fingerprint, PLAN),
    "space": (used, SPACE),
    "choice": (Choice.from_json, CHOICES[3]),
    "constraint": (Constraint.from_json, SPACE.constraints[0]),
    "symmetry": (Interchangeable.from_json, SPACE.symmetries[0]),
    "wiring": (Wiring.from_json, WIRING),
    "isomorphic": (Isomorphic.from_json, Isomorphic(WIRING)),
}


@pytest.mark.parametrize("name", READERS)
def test_only_errors_of_archsmith_come_of_wrong_forms(name):
    read, value = READERS[name]
    document = json.loads(json.dumps(value.to_json()))
    read(document)
    _, refused = survives(read, mutants(document, np.random.default_rng(0), 60))
    assert refused >= 20


@pytest.mark.parametrize("data", [None, [], {}, "", 1, {"kind": []}, {"kind": None}, {"kind": "module:Class"}])
@pytest.mark.parametrize("read", [spaces.from_json, *(read for read, _ in READERS.values())])
def test_what_is_no_such_thing_at_all(read, data):
    assert survives(read, [data]) == (0, 1)


def test_the_reader_is_told_what_is_wrong():
    data = EVALUATION.to_json() | {"seed": "\u00b2"}
    with pytest.raises(DamagedFile, match=r"not an evaluation: .*Expected `int`, got `str` - at `\$\.seed`"):
        Evaluation.from_json(data)


@pytest.mark.parametrize("text", ["", "\u00b2", "max", "min ", "latency_ms<=\u00b2", "latency_ms<=1e999", "x" * 10**5])
@pytest.mark.parametrize("parse", [Limit.parse, Objective.parse])
def test_limits_and_objectives_as_text(parse, text):
    assert survives(parse, [text]) == (0, 1)


# What would take hours -----------------------------------------------------------------------------------------------


def soon(read, data, *, seconds=2.0):
    start = time.process_time()
    survives(read, [data])
    assert time.process_time() - start < seconds


def written(choices, constraints=(), symmetries=(), **more):
    parts = {"choices": choices, "constraints": [{"expression": c} for c in constraints], "symmetries": symmetries}
    return {"kind": "choice_space", "name": "", **parts, **more}


def choice(name, options=(1, 2), when=None, kind="ordinal"):
    return {"name": name, "options": list(options), "kind": kind, "when": when, "owner": "supernet"}


def test_too_many_choices_are_refused_at_once():
    soon(spaces.from_json, written([choice("a")] * 50_000))
    with pytest.raises(DamagedFile, match="50,000 choices, at most 20,000"):
        spaces.from_json(written([choice("a")] * 50_000))


def test_a_parent_of_many_options_with_many_children():
    many = list(range(30_000))
    children = [choice(f"c{i}", when=["p", [0]]) for i in range(1000)]
    with pytest.raises(DamagedFile, match="the conditions are on"):
        spaces.from_json(written([choice("p", many), *children]))


def test_a_choice_of_many_options_is_sampled():
    soon(
        lambda data: spaces.from_json(data).sample_rows(1, np.random.default_rng(0), uniform="architecture"),
        written([choice("p", range(30_000))]),
    )


def test_a_node_of_too_many_operations():
    nodes = [Node(f"{i}", ("a", "b", "c")).to_json() for i in range(3)]
    parts = [choice(name, range(300)) for name in "abc"]
    with pytest.raises(DamagedFile, match="27,000,000 operations"):
        spaces.from_json(written(parts, wiring={"nodes": nodes, "output": []}))


@pytest.mark.parametrize(
    "expression",
    ["(" * 900 + "a" + ")" * 900, "-" * 1900 + "a<1", "not " * 400 + "a<1", "a" + "+a" * 900 + "<1", "a" + ".a" * 900,
     "9**9**9**9<a", "'x'*9999999999<a", "a<1<<9999", "a<" + "9" * 1990, "__import__('os')==a", "a<(a:=1)"],
    ids=range(11),
)  # fmt: skip
def test_constraints_that_would_never_end(expression):
    soon(spaces.from_json, written([choice("a")], [expression]))
    with pytest.raises(InvalidSpace):
        ChoiceSpace([Choice("a", (1, 2))], [expression])


def test_long_sums_that_are_judged_deep_inside_a_search():
    space = ChoiceSpace([Choice("a", (1, 2))], ["a" + "+a" * 150 + "<300"])
    assert len(space.sample(3, np.random.default_rng(0))) == 3


def test_text_that_is_held_against_many_options():
    labels = [f"o{i}" for i in range(30_000)]
    soon(
        spaces.from_json,
        written(
            [choice("a", labels, kind="categorical")],
            ["==".join(["a"] * 500) + "=='x'", f"a in ({','.join(['1'] * 900)})"],
        ),
    )


def test_a_wrong_name_of_any_length_is_told_soon():
    soon(lambda name: unknown("choice", name, ["ab" * 50_000] * 5), "ba" * 50_000)
    soon(lambda name: unknown("choice", name, ["ab" * 37 + f"{i}" for i in range(2000)]), "ba" * 40)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (written([choice(f"c{i}", range(30_000)) for i in range(40)]), "1,200,000 options in all"),
        (written([choice("a")], [" + ".join(["a"] * 140) + " < 400"] * 500), "characters in all"),
    ],
    ids=["options", "constraints"],
)
def test_what_is_large_in_all_is_refused_before_it_is_built(data, said):
    with pytest.raises(DamagedFile, match=said):
        spaces.from_json(data)


def test_many_choices_have_a_size_that_can_be_said():
    space = spaces.from_json(written([choice(f"c{i}", range(100)) for i in range(2200)]))
    assert str(space.size()) == "1.00e+4400 architectures"
    for n in (10**9, 10**15 - 1, 10**15, 10**300 + 1):
        exponent = len(str(n)) - 1
        assert str(Size.counted(n)) == f"{n // 10 ** (exponent - 2) / 100:.2f}e+{exponent} architectures"


def test_rules_about_more_choices_than_arrays_have_dimensions():
    names = [f"c{i}" for i in range(70)]
    space = spaces.from_json(
        written([choice(n, (1,)) for n in names] + [choice("a")], [f"{' + '.join(names)} >= 70 * a"])
    )
    assert set(space.sample_rows(300, np.random.default_rng(0))[:, -1].tolist()) == {0}


def test_graphs_of_many_nodes_in_many_settings():
    choices = [choice(f"c{i}", (0, 1) if i < 16 else (0,)) for i in range(200)]
    nodes = [Node(c["name"], (c["name"],)).to_json() for c in choices]
    with pytest.raises(DamagedFile, match="too many to be compared"):
        spaces.from_json(written(choices, symmetries=[{"isomorphic": {"nodes": nodes, "output": []}}]))


@pytest.mark.parametrize("given", [None, 3, float("inf"), [], {}])
def test_what_is_no_text_is_no_objective(given):
    with pytest.raises(InvalidOption):
        Objective.parse(given)


def test_a_node_that_reads_nothing():
    wiring = Wiring((Node("a", ("a.op",), inputs=()), Node("b", ("b.op",), inputs=("input", "a"))))
    space = ChoiceSpace(CHOICES, wiring=wiring)
    assert not space.graphs(space.sample_rows(4, np.random.default_rng(0))).edges[:, :, 1].any()
