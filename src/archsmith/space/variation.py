"""Changing rows: mutation, crossover, neighbours and the nearest valid row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import InvalidArchitecture, InvalidSpace
from archsmith.space.forest import AnyRows, Rows

if TYPE_CHECKING:
    from archsmith.space.choice_space import ChoiceSpace

_ROUNDS = 20  # redraws before a row falls back on something that surely exists
_BEAM = 64
_MOST_SEARCHED = 10**6


def mutate(space: ChoiceSpace, rows: AnyRows, rng: np.random.Generator, probability: float | None) -> Rows:
    """Canonical rows that each differ from the given one; see :meth:`ChoiceSpace.mutate_rows`."""
    parents = space.canonical_rows(rows)
    children = parents.copy()
    todo = np.arange(len(parents))
    for _ in range(_ROUNDS):
        if not len(todo):
            return children
        drawn = space.canonical_rows(_mutants(space, space.rules.any_form(parents[todo], rng), rng, probability))
        good = (drawn != parents[todo]).any(axis=1) & space.rules.valid(drawn)
        children[todo[good]] = drawn[good]
        todo = todo[~good]
    for i in todo:
        near = neighbours(space, parents[i])
        if len(near):
            children[i] = near[rng.integers(len(near))]
    return children


def _mutants(space: ChoiceSpace, parents: Rows, rng: np.random.Generator, probability: float | None) -> Rows:
    """Each with at least one active choice at another option; choices that become active get random options."""
    active = space.active(parents)
    open_ = active & (space.cardinalities > 1)
    if probability is None:
        chance = 1.0 / np.maximum(1, open_.sum(axis=1, keepdims=True))
    else:
        chance = np.full((1, 1), probability)
    keys = rng.random(parents.shape)
    changed = open_ & (keys < chance)
    first = np.argmin(np.where(open_, keys, 2.0), axis=1)  # the one that came nearest to changing
    lines = np.arange(len(parents))
    changed[lines, first] |= open_[lines, first]
    shift = 1 + np.floor(rng.random(parents.shape) * (space.cardinalities - 1)).astype(np.int16)
    elsewhere = (parents + shift) % space.cardinalities
    fresh = np.floor(rng.random(parents.shape) * space.cardinalities).astype(np.int16)
    return np.where(changed, elsewhere, np.where(active, parents, fresh)).astype(np.int16)


def crossover(space: ChoiceSpace, a: AnyRows, b: AnyRows, rng: np.random.Generator) -> Rows:
    """Uniform crossover; see :meth:`ChoiceSpace.crossover_rows`."""
    a, b = space.canonical_rows(a), space.canonical_rows(b)
    if len(a) != len(b):
        raise InvalidArchitecture(f"crossover pairs rows one to one, got {len(a)} and {len(b)}")
    active_a, active_b = space.active(a), space.active(b)
    children = np.where(rng.random((len(a), 1)) < 0.5, a, b)  # what stays where no mixture is valid
    todo = np.arange(len(a))
    for _ in range(_ROUNDS):
        if not len(todo):
            break
        # A choice that is inactive in one parent means nothing there: the other parent's value counts.
        from_a = np.where(active_a[todo] & active_b[todo], rng.random((len(todo), a.shape[1])) < 0.5, active_a[todo])
        drawn = space.canonical_rows(np.where(from_a, a[todo], b[todo]))
        good = space.rules.valid(drawn)
        children[todo[good]] = drawn[good]
        todo = todo[~good]
    return children


def neighbours(space: ChoiceSpace, rows: AnyRows) -> Rows:
    """Every other valid canonical row one edit away from one of ``rows``; see :meth:`ChoiceSpace.neighbour_rows`."""
    parents = space.canonical_rows(np.atleast_2d(rows))
    near = distinct(space.canonical_rows(edits(space, space.rules.forms(parents))))
    themselves = {row.tobytes() for row in parents}
    other: NDArray[np.bool_] = np.array([row.tobytes() not in themselves for row in near], dtype=bool)
    return near[space.rules.valid(near) & other]


def edits(space: ChoiceSpace, rows: Rows) -> Rows:
    """For canonical rows: each active choice at each other option, one after the other; may be invalid."""
    line, column = np.nonzero(space.active(rows))
    repeats = space.cardinalities[column].astype(np.intp) - 1
    line, column = np.repeat(line, repeats), np.repeat(column, repeats)
    option = np.arange(len(line)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    edited = rows[line]
    option += option >= edited[np.arange(len(line)), column]  # skips the present one
    edited[np.arange(len(line)), column] = option
    return edited


def distinct(rows: Rows) -> Rows:
    """Rows without repetition, in order of first appearance."""
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)]


def repair(space: ChoiceSpace, row: Rows) -> Rows:
    """A valid row near a canonical ``row (d,)``: itself, else by a beam search over edits, else the nearest known.

    Raises:
        InvalidSpace: when there is none, or next to none in a space too large to list.
    """
    beam = row[None]
    for _ in range(2 * len(row) + 1):
        valid = space.valid(beam)
        if valid.any():
            return _nearest(space, beam[valid], row)
        beam = distinct(space.canonical_rows(edits(space, beam)))
        if not len(beam):
            break
        order = np.lexsort((_distance(space, beam, row), space.violated(beam)))  # fewest violations first
        beam = beam[order[:_BEAM]]
    if space.forest.count > _MOST_SEARCHED:
        return _nearest(space, space.sample_rows(_BEAM, np.random.default_rng(0)), row)
    if not len(every := space.enumerate_rows()):
        rules = "; ".join(c.expression for c in space.constraints)
        raise InvalidSpace(f"no architecture is valid; loosen the constraints: {rules}")
    return _nearest(space, every, row)


def _nearest(space: ChoiceSpace, rows: Rows, row: Rows) -> Rows:
    found: Rows = rows[np.argmin(_distance(space, rows, row))]
    return found


def _distance(space: ChoiceSpace, rows: Rows, row: Rows) -> NDArray[np.float64]:
    """Sum over choices of the steps between two options as a share of all, so that each choice weighs at most 1."""
    steps = np.abs(rows.astype(np.float64) - row) / np.maximum(1, space.cardinalities - 1)
    return np.where([c.kind == "ordinal" for c in space.choices], steps, rows != row).sum(axis=1)  # type: ignore[no-any-return]
