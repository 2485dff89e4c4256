"""Rank tests: whether differences between strategies are significant, over all problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SIGNIFICANT_P = 0.05
"""A difference is called significant if its corrected p-value is below this."""


@dataclass(frozen=True)
class Pair:
    """Two strategies over paired searches.

    Args:
        first: label.
        second: label.
        wins: pairs in which the first is better.
        losses: pairs in which it is worse.
        ties: pairs in which both are equal.
        p: of a two-sided Wilcoxon signed-rank test.
        p_holm: corrected for all pairs tested (Holm).
    """

    first: str
    second: str
    wins: int
    losses: int
    ties: int
    p: float
    p_holm: float


def friedman(scores: Mapping[str, Sequence[float]]) -> tuple[float, float, dict[str, float]] | None:
    """Friedman's test over problems, and the mean rank of each strategy; rank 1 is best.

    Args:
        scores: strategy -> one score a problem, smaller is better, the same problems for all.

    Returns:
        Statistic, p-value, mean ranks; ``None`` for fewer than three strategies or two problems.
    """
    from scipy.stats import friedmanchisquare, rankdata

    table = np.array(list(scores.values()), dtype=float)
    if table.ndim != 2 or table.shape[0] < 3 or table.shape[1] < 2:
        return None
    ranks = rankdata(table, axis=0).mean(axis=1)
    means = dict(zip(scores, ranks.tolist(), strict=True))
    if (table == table[0]).all():
        return 0.0, 1.0, means  # all scores are equal, and the statistic is undefined
    found = friedmanchisquare(*table)
    return float(found.statistic), float(found.pvalue), means


def wilcoxon_holm(differences: Mapping[tuple[str, str], Sequence[float]]) -> list[Pair]:
    """Wilcoxon's signed-rank test of each pair, corrected for their number by Holm's step-down method.

    Args:
        differences: pair -> score of the first minus that of the second for each pair of searches, smaller is better.
            Pairs without paired searches are left out.
    """
    from scipy.stats import wilcoxon

    given = {pair: np.asarray(d, dtype=float) for pair, d in differences.items() if len(d)}
    raw = {pair: float(wilcoxon(d).pvalue) if np.any(d != 0) else 1.0 for pair, d in given.items()}
    corrected = dict(zip(raw, holm(list(raw.values())), strict=True))
    return [
        Pair(*pair, int((d < 0).sum()), int((d > 0).sum()), int((d == 0).sum()), raw[pair], corrected[pair])
        for pair, d in given.items()
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(x) for x in corrected]
