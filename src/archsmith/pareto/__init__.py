"""Dominance, fronts and indicators of arrays of costs; smaller is better everywhere.

Costs have shape ``(n, m)``: ``n`` points, ``m`` objectives. A row that is not finite stands for a failure: it is on
no front, dominates nothing and adds no hypervolume.
"""

from __future__ import annotations

from archsmith.pareto.front import crowding_distance, is_non_dominated, non_dominated_rank
from archsmith.pareto.indicators import hypervolume, hypervolume_contributions, igd_plus, normalise

__all__ = [
    "crowding_distance",
    "hypervolume",
    "hypervolume_contributions",
    "igd_plus",
    "is_non_dominated",
    "non_dominated_rank",
    "normalise",
]
