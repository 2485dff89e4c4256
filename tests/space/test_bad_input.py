"""What cannot be a space or a point of one is refused with the name, the rule and the way out."""

import numpy as np
import pytest

from archsmith.errors import DamagedFile, InvalidArchitecture, InvalidOption, InvalidSpace, UnknownName
from archsmith.space import Choice, ChoiceSpace, Constraint, Interchangeable, Subset, from_json
from archsmith.testing.toy import toy_space

DEPTH = Choice("depth", (1, 2, 3))
KERNEL = Choice("kernel", (3, 5), when=("depth", (2, 3)))
OP = Choice("op", ("conv", "pool"), "categorical")


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: ChoiceSpace([]), "at least one choice"),
        (lambda: ChoiceSpace([DEPTH, DEPTH]), "two choices are called 'depth'"),
        (lambda: Choice("", (1,)), "needs a name"),
        (lambda: Choice("a", ()), "'a' has no options"),
        (lambda: Choice("a", (1, 2, 1.0)), "option 1.0 more than once"),
        (lambda: Choice("a", (1, True)), "more than once"),
        (lambda: Choice("a", (3, 2)), "ordinal options ascend"),
        (lambda: Choice("a", ("x", "y")), "say kind='categorical'"),
        (lambda: Choice("a", "xy"), "options are a tuple"),
        (lambda: Choice("a", (1.0, float("nan"))), "finite number"),
        (lambda: Choice("a", (None,), "categorical"), "finite number"),
        (lambda: Choice("a", ((1, 2),), "categorical"), "Subset"),
        (lambda: Choice("a", (1,), "nominal"), "kind is one of"),
        (lambda: Choice("a", tuple(range(40_000))), "at most 32767"),
        (lambda: Choice("a", (1,), when="depth"), "a condition reads"),
        (lambda: Choice("a", (1,), when=("depth", ())), "never be active"),
        (lambda: Subset("a", (1, 2), 3), "between 1 and 2"),
        (lambda: Subset("a", (1, 1), 1), "more than once"),
        (lambda: Subset("a", tuple(range(40)), 10), "subsets"),
        (lambda: ChoiceSpace([KERNEL, DEPTH]), "put 'depth' first"),
        (lambda: ChoiceSpace([Choice("a", (1,), when=("a", (1,)))]), "'a' depends on itself"),
        (lambda: ChoiceSpace([DEPTH, Choice("k", (3,), when=("dept", (2,)))]), "did you mean 'depth'"),
        (lambda: ChoiceSpace([DEPTH, Choice("k", (3,), when=("depth", (4,)))]), "no option of 'depth'"),
        (lambda: ChoiceSpace([DEPTH]) * ChoiceSpace([DEPTH]), "both spaces have a choice 'depth'"),
        (lambda: ChoiceSpace([DEPTH], ["dept < 2"]), "did you mean 'depth'"),
        (lambda: ChoiceSpace([OP], ["op == 'con'"]), "did you mean 'conv'"),
        (lambda: ChoiceSpace([OP], ["op < 'conv'"]), "text has no order"),
        (lambda: ChoiceSpace([OP], ["op + 1 < 2"]), "text cannot be used"),
        (lambda: ChoiceSpace([OP, DEPTH], ["op == depth"]), "compares text with a number"),
        (lambda: ChoiceSpace([OP, DEPTH], ["depth in ('conv', 2)"]), "option in"),
        (lambda: ChoiceSpace([DEPTH], ["depth + 1"]), "compare it with something"),
        (lambda: ChoiceSpace([Subset("s", (1, 2), 1)], ["s == 1"]), "use active"),
    ],
)
def test_impossible_spaces(build, says):
    with pytest.raises((InvalidSpace, UnknownName), match=says.replace("(", r"\(")):
        build()


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true') == 0",
        "depth.__class__ == 1 and (lambda: 0)() == 0",
        "open('x') == 1",
        "[d for d in (1, 2)] == 1",
        "depth[0] == 1",
        "depth ** 9 < 1",
        "(depth := 3) == 3",
        "depth if depth else depth",
        "f'{depth}' == '1'",
        "depth is depth",
        "min(*depth) < 1",
        "max(depth, key=depth) < 1",
        "sum() < depth",
        "active(depth, depth)",
        "value(1) < depth",
        "b'x' == depth",
        "1j < depth",
        "depth < 10 ** 99",
        "depth < " + "9" * 40,
        "depth <",
        "depth < 1; depth",
        "1 < 2",
        "",
        "(" * 300 + "depth" + ")" * 300 + " < 1",
        "-" * 1500 + "depth < 1",
        "depth < 1" + " and depth < 1" * 500,
        "layer1.0.width < 3",
        "stage.in < 3",
        3,
    ],
)
def test_expressions_that_are_not_safe_or_say_nothing(text):
    with pytest.raises(InvalidSpace):
        Constraint(text)


def test_names_that_are_no_identifiers_are_quoted():
    space = ChoiceSpace([Choice("layer1.0.width", (1, 2, 4)), OP], ['value("layer1.0.width") < 3 or op == "pool"'])
    assert space.size().value == 5
    assert space.constraints[0].names == ("layer1.0.width", "op")


def test_division_by_an_inactive_choice_is_infinite_and_silent():
    space = ChoiceSpace([DEPTH, KERNEL], ["12 / kernel <= 3"])
    assert space.enumerate_rows().tolist() == [[1, 1], [2, 1]]


A, B = Choice("a", (0, 1)), Choice("b", (0, 1))


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Interchangeable((("a",),)), "two or more groups"),
        (lambda: Interchangeable((("a",), ("b", "c"))), "equally many"),
        (lambda: Interchangeable((("a", "b"), ("b", "a"))), "twice"),
        (lambda: ChoiceSpace([A, B], symmetries=[Interchangeable((("a",), ("c",)))]), "no choice of the symmetry"),
        (lambda: ChoiceSpace([A, DEPTH], symmetries=[Interchangeable((("a",), ("depth",)))]), "cannot be interchanged"),
        (
            lambda: ChoiceSpace(
                [A, B, Choice("c", (0,), when=("a", (1,)))], symmetries=[Interchangeable((("a",), ("b",)))]
            ),
            "add it",
        ),
        (lambda: ChoiceSpace([A, B], symmetries=[Interchangeable((("a",), ("b",)))] * 2), "two symmetries"),
    ],
)
def test_impossible_symmetries(build, says):
    with pytest.raises((InvalidSpace, UnknownName), match=says):
        build()


def test_constraints_that_nothing_meets():
    space = ChoiceSpace([DEPTH, KERNEL], ["depth > 3"])
    for call in (lambda: space.sample(1, np.random.default_rng(0)), space.largest, space.smallest):
        with pytest.raises(InvalidSpace, match="loosen the constraints: depth > 3"):
            call()
    assert space.size().value == 0


def test_a_rare_architecture_is_found():
    space = ChoiceSpace([Choice(f"c{i}", tuple(range(10))) for i in range(4)], ["sum(c0, c1, c2, c3) == 36"])
    assert space.sample_rows(2, np.random.default_rng(0)).tolist() == [[9] * 4] * 2
    assert space.smallest() == space.largest()
    assert list(space.neighbours(space.largest())) == []
    assert space.mutate(space.largest(), np.random.default_rng(0)) == space.largest()


def test_huge_spaces_are_not_listed():
    space = ChoiceSpace([Choice(f"c{i}", tuple(range(10))) for i in range(400)])
    with pytest.raises(InvalidSpace, match=r"1\.00e\+400 architectures.*sample_rows"):
        space.enumerate_rows()


def test_huge_constrained_spaces_are_estimated():
    space = ChoiceSpace([Choice(f"c{i}", tuple(range(10))) for i in range(30)], ["c0 < 5"])
    size = space.size()
    assert not size.exact
    assert size.low <= 5 * 10**29 <= size.high
    assert size.high - size.low < 0.02 * 10**30
    assert str(size).startswith("about ")
    assert "estimated" in str(size)


def test_values_that_are_no_options_name_the_nearest():
    space = ChoiceSpace([DEPTH, KERNEL, OP], ["depth < 3 or kernel == 5"])
    with pytest.raises(UnknownName, match="no choice is called 'depht'; did you mean 'depth'"):
        space.architecture({"depht": 1})
    with pytest.raises(UnknownName, match="no option of 'op' is called 'pol'; did you mean 'pool'"):
        space.architecture({"depth": 1, "op": "pol"})
    with pytest.raises(InvalidArchitecture, match="'kernel' is active but has no value"):
        space.architecture({"depth": 2, "op": "conv"})
    with pytest.raises(InvalidArchitecture, match="breaks the constraint depth < 3 or kernel == 5"):
        space.architecture({"depth": 3, "op": "conv", "kernel": 3})
    with pytest.raises(UnknownName, match="'depth'"):
        space.architecture({"depth": [1], "op": "conv"})
    assert space.architecture({"depth": 1.0, "op": "conv", "kernel": 5}).choices == (("depth", 1), ("op", "conv"))


def test_nearest_clips():
    space = ChoiceSpace([DEPTH, KERNEL, OP, Subset("s", ("a", "b", "c"), 2)], ["depth < 3 or kernel == 5"])
    near = space.nearest({"depth": 99, "kernel": 4, "s": ("c", "b")})
    assert near.to_dict() == {"depth": 2, "kernel": 3, "op": "conv", "s": ("b", "c")}
    assert space.nearest({"depth": -1})["depth"] == 1
    assert space.nearest({"depth": 3, "kernel": 5.6}).to_dict() == {
        "depth": 3,
        "kernel": 5,
        "op": "conv",
        "s": ("a", "b"),
    }
    with pytest.raises(UnknownName, match="did you mean 'pool'"):
        space.nearest({"op": "pol"})


def test_architectures_of_another_space():
    foreign = toy_space().largest()
    space = ChoiceSpace([DEPTH])
    assert not space.contains(foreign)
    with pytest.raises(InvalidArchitecture, match="belongs to the space"):
        space.rows([foreign])


@pytest.mark.parametrize(
    "rows", [[[0.0, 0.0]], [[0, 0, 0]], [0, 0], [[3, 0]], [[0, -1]]], ids=["floats", "columns", "flat", "high", "low"]
)
def test_rows_that_are_none(rows):
    with pytest.raises(InvalidArchitecture):
        ChoiceSpace([DEPTH, KERNEL]).canonical_rows(np.array(rows))


def test_options_of_operations():
    space, rng = toy_space(), np.random.default_rng(0)
    with pytest.raises(InvalidOption, match="'choice' or 'architecture'"):
        space.sample_rows(1, rng, uniform="network")
    with pytest.raises(InvalidOption, match="between 0 and 1"):
        space.mutate_rows(space.sample_rows(1, rng), rng, probability=2)
    with pytest.raises(InvalidArchitecture, match="one to one"):
        space.crossover_rows(space.sample_rows(1, rng), space.sample_rows(2, rng), rng)


def test_damaged_json():
    good = toy_space().to_json()
    for bad in ({}, [], None, {"kind": "choice_space"}, good | {"choices": [1]}, good | {"choices": []}):
        with pytest.raises(DamagedFile):
            from_json(bad)
    with pytest.raises(UnknownName, match="kind of search space"):
        from_json({"kind": "grammar"})
