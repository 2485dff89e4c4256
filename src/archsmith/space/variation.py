"""Changing rows: mutation, crossover, neighbours and the nearest valid row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import InvalidArchitecture, InvalidSpace
from archsmith.space import members
from archsmith.space.forest import Rows
from archsmith.space.rules import Rules

_MOST_REDRAWS = 20  # redraws before a row falls back on its parent or a neighbour
_BEAM_WIDTH = 64
_MOST_SEARCHED = 10**6


def mutate(rules: Rules, parents: Rows, rng: np.random.Generator, probability: float | None) -> Rows:
    """Canonical rows that each differ from their canonical parent; see :meth:`ChoiceSpace.mutate_rows`."""
    children = parents.copy()
    todo = np.arange(len(parents))
    for _ in range(_MOST_REDRAWS):
        if not len(todo):
            return children
        drawn = rules.canonical(_mutants(rules, rules.any_form(parents[todo], rng), rng, probability))
        good = (drawn != parents[todo]).any(axis=1) & rules.valid(drawn)
        children[todo[good]] = drawn[good]
        todo = todo[~good]
    for i in todo:
        near = neighbours(rules, parents[i : i + 1])
        if len(near):
            children[i] = near[rng.integers(len(near))]
    return children


def _mutants(rules: Rules, parents: Rows, rng: np.random.Generator, probability: float | None) -> Rows:
    """Mutants with at least one active choice at another option; choices that become active get random options."""
    active = rules.forest.active(parents)
    open_ = active & (rules.forest.cardinalities > 1)
    if probability is None:
        chance = 1.0 / np.maximum(1, open_.sum(axis=1, keepdims=True))
    else:
        chance = np.full((1, 1), probability)
    keys = rng.random(parents.shape)
    changed = open_ & (keys < chance)
    first = np.argmin(np.where(open_, keys, 2.0), axis=1)  # the one that came nearest to changing
    lines = np.arange(len(parents))
    changed[lines, first] |= open_[lines, first]
    shift = 1 + np.floor(rng.random(parents.shape) * (rules.forest.cardinalities - 1)).astype(np.int16)
    elsewhere = (parents + shift) % rules.forest.cardinalities
    fresh = np.floor(rng.random(parents.shape) * rules.forest.cardinalities).astype(np.int16)
    return np.where(changed, elsewhere, np.where(active, parents, fresh)).astype(np.int16)


def crossover(rules: Rules, a: Rows, b: Rows, rng: np.random.Generator) -> Rows:
    """Uniform crossover of canonical rows; see :meth:`ChoiceSpace.crossover_rows`."""
    if len(a) != len(b):
        raise InvalidArchitecture(f"crossover pairs rows one to one, got {len(a)} and {len(b)}")
    active_a, active_b = rules.forest.active(a), rules.forest.active(b)
    children = np.where(rng.random((len(a), 1)) < 0.5, a, b)  # kept where no mixture is valid
    todo = np.arange(len(a))
    for _ in range(_MOST_REDRAWS):
        if not len(todo):
            break
        # A choice that is inactive in one parent means nothing there: the other parent's value counts.
        from_a = np.where(active_a[todo] & active_b[todo], rng.random((len(todo), a.shape[1])) < 0.5, active_a[todo])
        drawn = rules.canonical(np.where(from_a, a[todo], b[todo]))
        good = rules.valid(drawn)
        children[todo[good]] = drawn[good]
        todo = todo[~good]
    return children


def neighbours(rules: Rules, parents: Rows) -> Rows:
    """Every other valid row one edit away from a canonical parent; see :meth:`ChoiceSpace.neighbour_rows`."""
    near = distinct(rules.canonical(edits(rules, rules.forms(parents))))
    themselves = {row.tobytes() for row in parents}
    other: NDArray[np.bool_] = np.array([row.tobytes() not in themselves for row in near], dtype=bool)
    return near[rules.valid(near) & other]


def edits(rules: Rules, rows: Rows) -> Rows:
    """For canonical rows: each active choice at each other option, one after the other; may be invalid."""
    line, column = np.nonzero(rules.forest.active(rows))
    repeats = rules.forest.cardinalities[column].astype(np.intp) - 1
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


def repair(rules: Rules, row: Rows) -> Rows:
    """A valid row near a canonical ``row (d,)``: itself, else by a beam search over edits, else from all rows.

    Raises:
        InvalidSpace: when there is none, or hardly any in a space too large to list.
    """
    beam = row[None]
    for _ in range(2 * len(row) + 1):
        valid = rules.valid(beam)
        if valid.any():
            return _nearest(rules, beam[valid], row)
        beam = distinct(rules.canonical(edits(rules, beam)))
        if not len(beam):
            break
        order = np.lexsort((_distance(rules, beam, row), rules.violated(beam)))  # fewest violations first
        beam = beam[order[:_BEAM_WIDTH]]
    if rules.forest.count > _MOST_SEARCHED:
        return _nearest(
            rules, members.sample(rules, _BEAM_WIDTH, np.random.default_rng(0), per_architecture=False), row
        )
    if not len(every := members.enumerate_rows(rules)):
        written = "; ".join(c.expression for c in rules.constraints)
        raise InvalidSpace(f"no architecture is valid; loosen the constraints: {written}")
    return _nearest(rules, every, row)


def _nearest(rules: Rules, rows: Rows, row: Rows) -> Rows:
    found: Rows = rows[np.argmin(_distance(rules, rows, row))]
    return found


def _distance(rules: Rules, rows: Rows, row: Rows) -> NDArray[np.float64]:
    """Sum over choices of the steps between two options as a share of all, so that each choice weighs at most 1."""
    steps = np.abs(rows.astype(np.float64) - row) / np.maximum(1, rules.forest.cardinalities - 1)
    return np.where([c.kind == "ordinal" for c in rules.choices], steps, rows != row).sum(axis=1)  # type: ignore[no-any-return]
