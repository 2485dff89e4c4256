"""Random spaces against an independent reading of them, one architecture at a time, in plain Python."""

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsmith.space import Choice, ChoiceSpace, Interchangeable, from_json
from archsmith.testing.random_spaces import choice_spaces
from archsmith.testing.toy import toy_space

SEEDS = st.integers(0, 5)


def settled(space, row):
    """Name -> option index of the active choices, read from the definitions."""
    found = {}
    for choice, index in zip(space.choices, row, strict=True):
        parent, values = choice.when or (None, ())
        by_name = {c.name: c for c in space.choices}
        if parent is None or (parent in found and by_name[parent].options[found[parent]] in values):
            found[choice.name] = index
    return found


def images(space, row):
    """All rows that the symmetries make of a canonical one."""
    for symmetry in space.symmetries:
        columns = [[space.names.index(n) for n in group] for group in symmetry.groups]
        for order in itertools.permutations(columns):
            image = list(row)
            for to, origin in zip(columns, order, strict=True):
                for i, j in zip(to, origin, strict=True):
                    image[i] = row[j]
            yield tuple(image)
    if not space.symmetries:
        yield tuple(row)


def judged(space, row):
    """Whether Python itself finds all constraints met; inactive choices are 0."""
    active = settled(space, row)
    options = {c.name: c.options for c in space.choices}
    scope = {
        "value": lambda name: options[name][active[name]] if name in active else 0,
        "active": lambda name: name in active,
        "sum": lambda *parts: sum(parts),
        "min": min,
        "max": max,
        "__builtins__": {},
    }
    return all(eval(c.expression, scope) for c in space.constraints)


def listed(space):
    """Every canonical valid row, by brute force."""
    found = set()
    for row in itertools.product(*[range(len(c.options)) for c in space.choices]):
        active = settled(space, row)
        found.add(min(images(space, [active.get(n, 0) for n in space.names])))
    return sorted(row for row in found if judged(space, row))


def small(space):
    return np.prod(space.cardinalities.astype(float)) <= 3000


@given(choice_spaces().filter(small))
def test_enumeration_and_size_agree_with_brute_force(space):
    assert [tuple(r) for r in space.enumerate_rows().tolist()] == listed(space)
    assert space.size().value == len(listed(space))


@given(choice_spaces(), SEEDS)
def test_activity_and_validity_agree_with_the_definitions(space, seed):
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, space.cardinalities, (30, len(space.choices)), dtype=np.int16)
    for row, active in zip(raw.tolist(), space.active(raw), strict=True):
        assert [n for n, on in zip(space.names, active, strict=True) if on] == list(settled(space, row))
    canonical = space.canonical_rows(raw)
    assert space.valid(raw).tolist() == [judged(space, r) for r in canonical.tolist()]
    if space.symmetries:
        for row in canonical.tolist():
            assert all(space.canonical_rows(np.array([i]))[0].tolist() == row for i in images(space, row))


@given(choice_spaces(), SEEDS)
def test_neighbours_are_all_valid_single_edits(space, seed):
    [row] = space.sample_rows(1, np.random.default_rng(seed)).tolist()
    expected = set()
    for name, index in settled(space, row).items():
        column = space.names.index(name)
        for option in set(range(len(space.choices[column].options))) - {index}:
            edited = [*row[:column], option, *row[column + 1 :]]
            active = settled(space, edited)
            expected.add(min(images(space, [active.get(n, 0) for n in space.names])))
    expected = {e for e in expected if judged(space, e)} - {tuple(row)}
    near = [tuple(r) for r in space.neighbour_rows(np.array(row)).tolist()]
    assert len(near) == len(set(near))
    assert set(near) == expected


@given(choice_spaces(), SEEDS)
def test_variation_stays_inside_and_moves(space, seed):
    rng = np.random.default_rng(seed)
    members = {tuple(r) for r in space.enumerate_rows().tolist()}
    rows = space.sample_rows(20, rng)
    mutants = space.mutate_rows(rows, rng)
    children = space.crossover_rows(rows, space.sample_rows(20, rng, "architecture"), rng)
    assert {tuple(r) for r in np.concatenate([rows, mutants, children]).tolist()} <= members
    for row, mutant in zip(rows, mutants, strict=True):
        assert (row != mutant).any() or not len(space.neighbour_rows(row))


@given(choice_spaces(rules=False), SEEDS)
def test_children_inherit_what_was_active_in_a_parent(space, seed):
    rng = np.random.default_rng(seed)
    a, b = space.sample_rows(20, rng), space.sample_rows(20, rng)
    children = space.crossover_rows(a, b, rng)
    inherited = [(p == children) & space.active(p) for p in (a, b)]
    assert (inherited[0] | inherited[1] | ~space.active(children)).all()


@given(choice_spaces(), SEEDS)
def test_rows_and_architectures_are_inverse(space, seed):
    rows = space.sample_rows(20, np.random.default_rng(seed))
    architectures = space.architectures(rows)
    np.testing.assert_array_equal(space.rows(architectures), rows)
    assert all(map(space.contains, architectures))
    assert len({a.key for a in architectures}) == len(np.unique(rows, axis=0))


@given(choice_spaces())
def test_json_keeps_everything(space):
    again = from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    assert again.to_json() == space.to_json()
    assert space.contains(again.largest())
    np.testing.assert_array_equal(again.enumerate_rows(), space.enumerate_rows())


@given(choice_spaces(rules=False))
def test_the_product_multiplies(space):
    other = ChoiceSpace([Choice("bits", (4, 8, 16), owner="precision"), Choice("p", (1, 2), when=("bits", (8,)))])
    product = space * other
    assert product.size().value == 4 * space.size().value
    assert [c.owner for c in product.choices][-2:] == ["precision", "supernet"]
    assert product.names == space.names + other.names
    assert product.fingerprint not in (space.fingerprint, other.fingerprint)


def chi_square(counts):
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("rules", ["none", "constraint", "symmetry"])
def test_uniform_per_architecture_is_uniform(rules):
    choices = [Choice("depth", (1, 2, 3)), Choice("k", (3, 5, 7), when=("depth", (2, 3)))]
    choices += [Choice("op0", (0, 1, 2)), Choice("op1", (0, 1, 2)), Choice("x", (1, 2), when=("k", (5,)))]
    space = ChoiceSpace(
        choices,
        ["op0 + depth > 1"] if rules == "constraint" else (),
        [Interchangeable((("op0",), ("op1",)))] if rules == "symmetry" else (),
    )
    every = space.enumerate_rows()
    n = 300 * len(every)
    for uniform, agrees in (("architecture", True), ("choice", False)):
        drawn = space.sample_rows(n, np.random.default_rng(0), uniform)
        both, counts = np.unique(drawn, axis=0, return_counts=True)
        np.testing.assert_array_equal(both, every)
        freedom = len(every) - 1
        assert (chi_square(counts) < freedom + 4 * np.sqrt(2 * freedom)) == agrees


def test_uniform_per_choice_is_uniform():
    rows = toy_space().sample_rows(60_000, np.random.default_rng(0))
    active = toy_space().active(rows)
    for j, cardinality in enumerate(toy_space().cardinalities):
        counts = np.bincount(rows[active[:, j], j], minlength=cardinality)
        assert chi_square(counts) < cardinality - 1 + 5 * np.sqrt(2 * cardinality)


def test_uniform_per_architecture_of_a_space_beyond_any_float():
    wide = [Choice(f"k{i}", tuple(range(10)), when=("depth", (2,))) for i in range(400)]
    space = ChoiceSpace([Choice("depth", (1, 2)), *wide])
    assert space.size().value == 1 + 10**400
    assert (space.sample_rows(50, np.random.default_rng(0), "architecture")[:, 0] == 1).all()


def test_fingerprints_and_keys_are_the_same_in_every_process():
    code = (
        "from archsmith.testing.toy import toy_space; s = toy_space(); "
        "import numpy as np; print(s.fingerprint, *[a.key for a in s.sample(5, np.random.default_rng(1))])"
    )
    space = toy_space()
    here = [space.fingerprint, *[a.key for a in space.sample(5, np.random.default_rng(1))]]
    for salt in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": salt}
        out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert out.stdout.split() == here


def test_fingerprint_of_a_published_space_never_moves():
    """A changed value here makes every store written before unreadable."""
    assert toy_space().fingerprint == "93e4f8c949a9deab"
    assert toy_space().largest().key == "1092af4784a5d1e8"
