"""What every search space must do: subclass a suite in a test file and give it a ``space`` fixture.

class TestMySpace(SpaceConformance):
    @pytest.fixture
    def space(self):
        return MySpace()
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from archsmith.architecture import Architecture
from archsmith.errors import InvalidSpace, UserError
from archsmith.space import ChoiceSpace, Space, from_json

SAMPLES = 30


class SpaceConformance:
    """The contract of :class:`archsmith.space.Space`."""

    read_back: Callable[[dict[str, object]], Space] = staticmethod(from_json)
    """How a space comes back from JSON; third parties put their own ``from_json`` here."""

    @pytest.fixture
    def space(self) -> Space:
        """The space under test."""
        raise NotImplementedError("a suite needs a `space` fixture")

    @pytest.fixture
    def rng(self) -> np.random.Generator:
        """A fixed source of randomness."""
        return np.random.default_rng(7)

    def test_fingerprint_survives_json(self, space: Space) -> None:
        """A space comes back from JSON text as the same one."""
        text = json.dumps(space.to_json())
        again = type(self).read_back(json.loads(text))
        assert again.fingerprint == space.fingerprint
        assert again.to_json() == json.loads(text)
        assert len(space.fingerprint) == 16
        assert set(space.fingerprint) <= set("0123456789abcdef")

    def test_samples_are_canonical_points(self, space: Space, rng: np.random.Generator) -> None:
        """Samples are canonical architectures of this space and survive JSON."""
        sampled = space.sample(SAMPLES, rng)
        assert len(sampled) == SAMPLES
        assert space.sample(0, rng) == []
        for architecture in sampled:
            assert architecture.space == space.fingerprint
            assert space.contains(architecture)
            assert space.canonical(architecture) == architecture
            assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))).key == architecture.key

    def test_same_seed_samples_the_same(self, space: Space) -> None:
        """Sampling depends on the generator and on nothing else."""
        first, second, other = (space.sample(SAMPLES, np.random.default_rng(seed)) for seed in (3, 3, 4))
        assert first == second
        assert len(set(first)) == 1 or first != other

    def test_mutants_are_near_and_other(self, space: Space, rng: np.random.Generator) -> None:
        """A mutant is a point, and another one wherever there is a neighbour."""
        for architecture in space.sample(SAMPLES, rng):
            mutant = space.mutate(architecture, rng)
            assert space.contains(mutant)
            assert mutant != architecture or not list(space.neighbours(architecture))

    def test_children_are_points(self, space: Space, rng: np.random.Generator) -> None:
        """A child is a point; two equal parents have themselves as child."""
        a, b = space.sample(SAMPLES, rng), space.sample(SAMPLES, rng)
        for mother, father in zip(a, b, strict=True):
            assert space.contains(space.crossover(mother, father, rng))
            assert space.crossover(mother, mother, rng) == mother

    def test_neighbours_are_other_points_each_once(self, space: Space, rng: np.random.Generator) -> None:
        """Neighbours are valid, distinct, not the architecture itself, and in a fixed order."""
        for architecture in space.sample(5, rng):
            near = list(space.neighbours(architecture))
            assert near == list(space.neighbours(architecture))
            assert len({n.key for n in near}) == len(near)
            assert architecture not in near
            assert all(map(space.contains, near))

    def test_foreign_architectures_are_refused(self, space: Space, rng: np.random.Generator) -> None:
        """Another space's architecture and an unknown choice are refused."""
        [own] = space.sample(1, rng)
        for foreign in (
            replace(own, space="0" * 16),
            Architecture(space.fingerprint, (*own.choices, ("no such choice", 1))),
        ):
            assert not space.contains(foreign)
            with pytest.raises(UserError):
                space.canonical(foreign)


class ChoiceSpaceConformance(SpaceConformance):
    """What rows add to it."""

    @pytest.fixture
    def raw(self, space: ChoiceSpace, rng: np.random.Generator) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
        """Rows with anything in the inactive columns."""
        return rng.integers(0, space.cardinalities, (200, len(space.choices)), dtype=np.int16)

    def test_canonical_is_idempotent_and_ignores_what_is_inactive(
        self, space: ChoiceSpace, raw: np.ndarray[tuple[int, int], np.dtype[np.int16]], rng: np.random.Generator
    ) -> None:
        """Canonical rows are their own, with 0 where inactive, whatever stood there."""
        canonical = space.canonical_rows(raw)
        assert canonical.dtype == np.int16
        np.testing.assert_array_equal(space.canonical_rows(canonical), canonical)
        assert (canonical[~space.active(canonical)] == 0).all()
        noise = rng.integers(0, space.cardinalities, raw.shape, dtype=np.int16)
        np.testing.assert_array_equal(space.canonical_rows(np.where(space.active(raw), raw, noise)), canonical)
        np.testing.assert_array_equal(space.valid(raw), space.valid(canonical))

    def test_keys_are_equal_exactly_when_canonical_rows_are(
        self, space: ChoiceSpace, raw: np.ndarray[tuple[int, int], np.dtype[np.int16]]
    ) -> None:
        """Keys tell architectures apart exactly as canonical rows do."""
        keys = [a.key for a in space.architectures(raw)]
        rows = [tuple(r) for r in space.canonical_rows(raw).tolist()]
        assert len(set(keys)) == len(set(rows)) == len(set(zip(keys, rows, strict=True)))

    def test_rows_and_architectures_are_inverse(self, space: ChoiceSpace, rng: np.random.Generator) -> None:
        """Rows become architectures of their active choices, and rows again."""
        rows = space.sample_rows(SAMPLES, rng)
        architectures = space.architectures(rows)
        np.testing.assert_array_equal(space.rows(architectures), rows)
        for architecture, active in zip(architectures, space.active(rows), strict=True):
            assert [n for n, _ in architecture.choices] == [n for n, on in zip(space.names, active, strict=True) if on]
            assert space.architecture(architecture.to_dict()) == architecture
            assert space.nearest(architecture.to_dict()) == architecture

    def test_bulk_operations_stay_inside(self, space: ChoiceSpace, rng: np.random.Generator) -> None:
        """Whatever works on many rows gives canonical, valid rows of one type."""
        rows = space.sample_rows(200, rng)
        uniform = space.sample_rows(200, rng, uniform="architecture")
        mutants = space.mutate_rows(rows, rng)
        wild = space.mutate_rows(rows, rng, probability=1.0)
        for found in (rows, uniform, mutants, wild, space.crossover_rows(rows, uniform, rng)):
            assert found.shape == rows.shape
            assert found.dtype == np.int16
            np.testing.assert_array_equal(space.canonical_rows(found), found)
            assert space.valid(found).all()

    def test_corners_are_points(self, space: ChoiceSpace) -> None:
        """The largest and the smallest architecture are points."""
        assert space.contains(space.largest())
        assert space.contains(space.smallest())

    def test_size_is_the_number_of_rows(self, space: ChoiceSpace) -> None:
        """The size is what enumeration counts, or lies in its own interval."""
        size = space.size()
        assert size.low <= size.value <= size.high
        try:
            rows = space.enumerate_rows()
        except InvalidSpace:
            return  # too many to list
        assert size.exact
        assert len(rows) == len(np.unique(rows, axis=0)) == size.value
        np.testing.assert_array_equal(space.canonical_rows(rows), rows)
        assert space.valid(rows).all()
