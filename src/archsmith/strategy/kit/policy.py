"""What methods that learn from a reward share: the reward of many objectives, and draws that are new."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from archsmith.predictor import mid_ranks
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.variation import Floats, Rows

AUGMENTATION = 0.05
"""Weight of the sum beside the maximum, so that of two equal maxima the one with less of the rest is better."""
RIDGE = 1.0
"""Penalty of least squares, in designs: it keeps a model of few designs from following their noise."""


def draw_weights(m: int, rng: np.random.Generator) -> Floats:
    """Random weights of ``m`` objectives, uniform on the simplex, ``(m,)``."""
    return rng.dirichlet(np.ones(m)) if m > 1 else np.ones(1)


def scalarised(costs: Floats, weights: Floats) -> Floats:
    """Augmented Chebyshev distance of ``costs (n, m)`` from the best, each objective as mid-ranks, ``(n,)``.

    Ranks need no unit and no range, stay meaningful where one very bad value would stretch a range, and become finer
    where a search measures more: near the front. Many ``weights (k, m)`` at once give ``(k, n)``.
    """
    weighted = np.stack([mid_ranks(c) for c in costs.T], axis=1) * weights[..., None, :]
    return np.asarray(weighted.max(axis=-1) + AUGMENTATION * weighted.sum(axis=-1))


def rewards(costs: Floats, violations: Floats, weights: Floats) -> Floats:
    """How good each evaluation is among all, ``(n,)`` in ``[0, 1)``: larger is better, under one set of weights.

    Feasible ones come before all others and are ordered by :func:`scalarised` costs; those that break a limit follow
    by their violation; failed ones have 0.

    Args:
        costs: ``(n, m)``; ``inf`` where the evaluation failed.
        violations: ``(n,)``, 0 where feasible.
        weights: of the objectives, ``(m,)``.
    """
    badness = _badness(costs, violations, weights)
    ok = np.isfinite(badness)
    found = np.zeros(len(costs))
    found[ok] = 1.0 - mid_ranks(badness[ok])
    return found


def rewards_at(costs: Floats, violations: Floats, weights: Floats, at: NDArray[np.intp]) -> Floats:
    """What :func:`rewards` gives to evaluation ``at[i]`` under ``weights[i]``, for many at once.

    Args:
        costs: ``(n, m)``.
        violations: ``(n,)``.
        weights: ``(k, m)``.
        at: indices into the ``n``, ``(k,)``.
    """
    badness = _badness(costs, violations, weights)
    own = badness[np.arange(len(at)), at][:, None]
    ok = np.isfinite(badness).sum(axis=1)
    smaller, equal = (badness < own).sum(axis=1), (badness == own).sum(axis=1)
    return np.where(np.isfinite(own[:, 0]), 1.0 - (smaller + 0.5 * equal) / np.maximum(1, ok), 0.0)


def _badness(costs: Floats, violations: Floats, weights: Floats) -> Floats:
    """The order behind the rewards, smaller is better: scalarised costs, violations, then ``inf``; ``(..., n)``."""
    ok = np.isfinite(costs).all(axis=1)
    found = np.full((*weights.shape[:-1], len(costs)), np.inf)
    feasible = ok & (violations == 0)
    if feasible.any():
        found[..., feasible] = scalarised(costs[feasible], weights)  # at most 1 + AUGMENTATION
    broken = ok & ~feasible
    if broken.any():
        found[..., broken] = 2.0 + mid_ranks(violations[broken])
    return found


def draw_new(
    history: RowHistory, space: ChoiceSpace, draw: Callable[[], Rows], n: int, *, tries: int, rng: np.random.Generator
) -> Rows:
    """Up to ``n`` rows that are valid and neither told nor open; random new rows where ``draw`` gives too few.

    Args:
        history: what is known.
        space: of the rows.
        draw: gives rows of option indices, valid or not, ``(k, d)``.
        n: how many are wanted.
        tries: calls of ``draw`` at most.
        rng: for the random rows.
    """
    found = space.rows([])
    for _ in range(tries):
        drawn = space.canonical_rows(draw())
        drawn = np.concatenate([found, drawn[space.valid(drawn)]])
        found = drawn[history.is_new(drawn)][:n]
        if len(found) == n:
            return found
    more = np.concatenate([found, history.fresh_rows(n, rng)])
    return more[history.is_new(more)][:n]


def one_hot_blocks(space: ChoiceSpace) -> NDArray[np.intp]:
    """Where the options of each choice start in a vector with one place an option, and its length: ``(d + 1,)``."""
    return np.concatenate([[0], np.cumsum(space.cardinalities)]).astype(np.intp)
