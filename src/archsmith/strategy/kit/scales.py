"""Scales on which costs are learnt: monotone, so that dominance stays what it is."""

from __future__ import annotations

from typing import Literal

import numpy as np

from archsmith.predictor import normal_scores
from archsmith.strategy.kit.variation import Floats

View = Literal["ranks", "shape"]
"""How costs are warped before they are learnt: their normal scores, or a logarithm that suits their direction."""
VIEWS: tuple[View, ...] = ("ranks", "shape")


def warped(costs: Floats, goal: str, view: View) -> Floats:
    """Costs ``(n,)`` on a scale where differences near the front count; a monotone change."""
    if view == "ranks":
        return normal_scores(costs)
    if goal == "max":
        # A quality that saturates: what matters is how far it falls short of the best.
        shortfall = costs - costs.min()
        offset = 0.1 * float(np.median(shortfall)) or 0.1 * float(shortfall.max())
        return np.asarray(np.log(shortfall + offset)) if offset > 0 else shortfall
    return np.asarray(np.log(costs)) if costs.min() > 0 and costs.max() > 10 * costs.min() else costs
