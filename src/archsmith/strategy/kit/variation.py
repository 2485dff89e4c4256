"""The machinery of NSGA-II on rows: an order, a tournament, variation, and the loop over a batch cost function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from archsmith.pareto import crowding_distance, non_dominated_rank
from archsmith.space.choice_space import ChoiceSpace

Rows = NDArray[np.int16]
Floats = NDArray[np.float64]
CROSSOVER = 0.9
"""Probability that a child has two parents, in searches on predictions."""
CostFunction = Callable[[Rows], tuple[Floats, Floats]]
"""Rows ``(n, d)`` -> costs ``(n, m)`` and limit violations ``(n,)``."""


def constrained_ranks(costs: Floats, violations: Floats) -> NDArray[np.int64]:
    """Fronts under Deb's constrained domination, 0 is best, ``(n,)``.

    Feasible rows are ranked among themselves by their costs; every infeasible one comes after them, by violation.
    """
    feasible = violations == 0
    ranks = np.zeros(len(violations), dtype=np.int64)
    if feasible.any():
        ranks[feasible] = non_dominated_rank(costs[feasible])
    if not feasible.all():
        after = ranks[feasible].max() + 1 if feasible.any() else 0
        ranks[~feasible] = after + np.unique(violations[~feasible], return_inverse=True)[1]
    return ranks


def best_first(costs: Floats, violations: Floats, size: int) -> NDArray[np.intp]:
    """Indices of the best ``size`` rows: by front, then by crowding distance, then by age."""
    ranks = constrained_ranks(costs, violations)
    crowding = np.zeros(len(ranks))
    last = np.sort(ranks, kind="stable")[min(size, len(ranks)) - 1] if len(ranks) else 0
    for rank in range(int(last) + 1):
        members = np.flatnonzero(ranks == rank)
        if len(members) > 1 and np.isfinite(costs[members]).all():
            crowding[members] = crowding_distance(costs[members])
    order: NDArray[np.intp] = np.lexsort((np.arange(len(ranks)), -crowding, ranks))
    return order[:size]


def tournament(size: int, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``n`` winners of binary tournaments among ``size`` rows that lie best first."""
    winners: NDArray[np.int64] = rng.integers(0, size, (n, 2)).min(axis=1)
    return winners


def breed(
    space: ChoiceSpace,
    parents: Rows,
    n: int,
    *,
    crossover: float,
    mutation: float | None,
    rng: np.random.Generator,
) -> tuple[Rows, NDArray[np.int64]]:
    """``n`` children of ``parents`` that lie best first, and for each the index of its first parent."""
    first, second = tournament(len(parents), n, rng), tournament(len(parents), n, rng)
    children = parents[first].copy()
    crossed = rng.random(n) < crossover
    if crossed.any():
        children[crossed] = space.crossover_rows(children[crossed], parents[second[crossed]], rng)
    return space.mutate_rows(children, rng, mutation), first


def evolve(
    space: ChoiceSpace,
    start: Rows,
    evaluate: CostFunction,
    *,
    population: int,
    generations: int,
    crossover: float,
    rng: np.random.Generator,
) -> tuple[Rows, Floats, Floats]:
    """A whole run of NSGA-II on a batch cost function that is cheap to ask.

    Args:
        space: of the rows.
        start: canonical rows of the first generation, ``(n, d)`` with ``n >= 1``.
        evaluate: costs and violations of rows.
        population: rows that survive a generation.
        generations: how often it breeds.
        crossover: probability that a child has two parents.
        rng: the only source of randomness.

    Returns:
        Every distinct row that was met, in the order met, with its costs and violations.
    """
    archive = np.unique(start, axis=0)
    costs, violations = evaluate(archive)
    met = {row.tobytes() for row in archive}
    alive = best_first(costs, violations, population)
    for _ in range(generations):
        children, _ = breed(space, archive[alive], population, crossover=crossover, mutation=None, rng=rng)
        kept = []
        for i, row in enumerate(children):
            if (name := row.tobytes()) not in met:
                met.add(name)
                kept.append(i)
        if not kept:
            continue
        more, more_violations = evaluate(children[kept])
        pool = np.concatenate([alive, len(archive) + np.arange(len(kept))])
        archive = np.concatenate([archive, children[kept]])
        costs = np.concatenate([costs, more])
        violations = np.concatenate([violations, more_violations])
        alive = pool[best_first(costs[pool], violations[pool], population)]
    return archive, costs, violations
