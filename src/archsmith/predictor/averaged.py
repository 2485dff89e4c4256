"""Several predictors asked at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from archsmith.errors import InvalidOption
from archsmith.method import Paper, make
from archsmith.predictor._data import Array
from archsmith.predictor.base import Predictor


class Averaged(Predictor):
    """The mean of several predictors; they differ where they err, so that it ranks better than the best of them.

    The spread is that of a mixture: the members' own variances, and how far the members disagree.

    **Departures from the paper.** Equal weights, instead of weights by cross-validation: with a few dozen pairs, learnt
    weights are noise.

    Args:
        members: names of predictors (with their default options), or unfitted predictors.

    Raises:
        InvalidOption: for no members.
        UnknownName: for a member that there is no predictor of.
    """

    paper = Paper(authors="Breiman, Leo", title="Stacked Regressions", year=1996, venue="Machine Learning 24(1)")

    def __init__(self, *, members: Sequence[str | Predictor] = ("gaussian_process", "extra_trees")) -> None:
        if isinstance(members, str) or not members:
            raise InvalidOption(f"members={members!r} is no list of predictors; give at least one, such as ['ridge']")
        self._members: list[Predictor] = [make("predictor", member) for member in members]

    def fit(self, x: Array, y: Array) -> None:
        """Learn from encodings ``x (n, d)`` and finite values ``y (n,)``; forgets what it learnt before."""
        for member in self._members:
            member.fit(x, y)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each."""
        means, stds = (np.array(part) for part in zip(*(m.predict(x) for m in self._members), strict=True))
        return means.mean(axis=0), np.sqrt((stds**2).mean(axis=0) + means.var(axis=0))
