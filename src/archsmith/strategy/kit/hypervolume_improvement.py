"""Expected hypervolume improvement over a front, exact for independent Gaussian predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archsmith.pareto import is_non_dominated
from archsmith.strategy.kit.variation import Floats

Boxes = NDArray[np.intp]
EXACT_OBJECTIVES = 3
"""Objectives up to which the boxes are few enough."""
REFERENCE = 1.1
"""The corner of the hypervolume, in units of the box around what was measured."""


class ExpectedImprovement:
    """Expected growth of the hypervolume by a candidate, for independent Gaussian predictions.

    What lies below ``reference`` and is not dominated is cut into boxes; in each the expectation is a product over the
    objectives. (Emmerich et al. 2011; Yang et al. 2019 for the boxes.)

    Args:
        front: ``(h, m)`` with one to three objectives, smaller is better; dominated points do no harm.
        reference: ``(m,)``.
    """

    def __init__(self, front: Floats, reference: Floats) -> None:
        front = front[(front < reference).all(axis=1)]
        front = np.unique(front[is_non_dominated(front)], axis=0) if len(front) else front
        self._coordinates, self._low, self._high = _boxes(front, reference)

    def __call__(self, mean: Floats, std: Floats) -> Floats:
        """That of each of ``k`` candidates, ``(k,)``.

        Args:
            mean: predicted, ``(k, m)``.
            std: of the predictions, positive, ``(k, m)``.
        """
        volume = np.ones((len(mean), len(self._low)))
        for j, at in enumerate(self._coordinates):
            below = np.zeros((len(mean), len(at)))
            below[:, 1:] = _expected_excess(at[1:], mean[:, j], std[:, j])
            volume *= below[:, self._high[:, j]] - below[:, self._low[:, j]]
        return np.asarray(volume.sum(axis=1))


def _expected_excess(at: Floats, mean: Floats, std: Floats) -> Floats:
    """``E[max(c - Y, 0)]`` for every ``c`` of ``at (c,)`` and Gaussian ``Y``, ``(k, c)``."""
    from scipy.special import ndtr

    z = (at - mean[:, None]) / std[:, None]
    return np.asarray(std[:, None] * (z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)))


def _boxes(front: Floats, reference: Floats) -> tuple[list[Floats], Boxes, Boxes]:
    """What ``front`` does not dominate, as boxes between coordinates.

    Returns:
        The coordinates of each objective, the first minus infinity and the last the reference; and for each box the
        places of its lower and upper ends among them, ``(boxes, m)`` each.
    """
    coordinates = [np.concatenate([[-np.inf], np.sort(front[:, j]), [end]]) for j, end in enumerate(reference)]
    if front.shape[1] == 1:
        low, high = np.zeros((1, 1), dtype=np.intp), np.ones((1, 1), dtype=np.intp)
    elif front.shape[1] == 2:
        low, high = _strips(front, coordinates)
    else:
        slices = []
        order = np.argsort(front[:, 2], kind="stable")
        for s in range(len(front) + 1):
            if coordinates[2][s] < coordinates[2][s + 1]:
                below = front[order[:s], :2]
                below = np.unique(below[is_non_dominated(below)], axis=0) if s else below
                slices.append((s, *_strips(below, coordinates)))
        low = np.concatenate([np.insert(a, 2, s, axis=1) for s, a, _ in slices])
        high = np.concatenate([np.insert(b, 2, s + 1, axis=1) for s, _, b in slices])
    return coordinates, low, high


def _strips(front: Floats, coordinates: list[Floats]) -> tuple[Boxes, Boxes]:
    """The boxes under a two-dimensional ``front``: one left of each point and one right of the last."""
    order = np.argsort(front[:, 0])
    starts = np.append(0, np.searchsorted(coordinates[0], front[order, 0]))
    ends = np.append(starts[1:], len(coordinates[0]) - 1)
    heights = np.append(len(coordinates[1]) - 1, np.searchsorted(coordinates[1], front[order, 1]))
    return np.stack([starts, np.zeros_like(starts)], axis=1), np.stack([ends, heights], axis=1)
