"""Several rankings of the same architectures, such as zero-cost proxies, merged into one score or one pool."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import InvalidData, InvalidOption
from archsmith.method import Paper
from archsmith.predictor._data import Array, checked, mid_ranks, standardised
from archsmith.predictor.base import Predictor

Score = Literal["borda", "chamberlin_courant", "harmonic"]
SCORES: tuple[Score, ...] = ("borda", "chamberlin_courant", "harmonic")
PRIOR_PAIRS = 2.0
"""Labels that a weight of zero counts as, before any is known: a weight grows with the labels that support it."""


class MergedRanking(Predictor):
    """Merges rankings by multi-winner scores: as a predictor from few labels, or as a pool with quotas per group.

    Every column of the encoding is one ranking: larger ranks higher, the unit does not matter. :meth:`fit` learns a
    sign and a weight for each, its rank correlation with the labels shrunk towards 0, so that a few labels suffice
    and a useless ranking loses its vote; the weighted Borda score is then mapped to the target's unit. :meth:`select`
    picks a pool that the rankings together think well of, under quotas: proxies that favour large networks then choose
    among networks of like size.

    Departures from the paper: voters have weights; the quotas are upper bounds that add up to the pool, which for
    disjoint groups says the same as the paper's lower bounds; the pool is greedy, which for Borda is exact.

    Args:
        score: what a pool is worth to one ranking, with the position of each member from 0 (last) to 1 (first):
            ``borda`` their sum, ``chamberlin_courant`` the best, ``harmonic`` the best plus half of the second, a third
            of the third and so on. The predictor itself always uses Borda.

    Raises:
        InvalidOption: for an unknown score.
    """

    paper = Paper(
        authors="Boehmer, Niclas and Celis, L. Elisa and Huang, Lingxiao and Mehrotra, Anay and Vishnoi, Nisheeth K.",
        title="Subset Selection Based On Multiple Rankings in the Presence of Bias: Effectiveness of Fairness "
        "Constraints for Multiwinner Voting Score Functions",
        year=2023,
        venue="ICML",
        arxiv="2306.09835",
    )

    def __init__(self, *, score: Score = "borda") -> None:
        if score not in SCORES:
            raise InvalidOption(f"score={score!r} is not one of {', '.join(SCORES)}")
        self._score: Score = score
        self._weights: Array = np.zeros(0)

    def fit(self, x: Array, y: Array) -> None:
        """Learn signs and weights from rankings ``x (n, d)`` and finite values ``y (n,)``; forgets earlier ones."""
        x, y = checked(x, y)
        self._sorted = np.sort(x, axis=0)
        self._shift, self._scale, target = standardised(y)
        places = self._places(x)
        centred = places - places.mean(axis=0)
        wanted = _positions(y[:, None])[:, 0] - 0.5 if target.any() else target
        lengths = np.sqrt((centred**2).sum(axis=0)) * np.sqrt((wanted**2).sum())
        together = np.divide(wanted @ centred, lengths, out=np.zeros(x.shape[1]), where=lengths > 1e-12)
        self._weights = together * len(y) / (len(y) + PRIOR_PAIRS)
        merged = places @ self._weights
        power = float(((merged - merged.mean()) ** 2).sum())
        self._slope = float((merged - merged.mean()) @ target / power) if power > 1e-12 else 0.0
        self._offset = float(target.mean() - self._slope * merged.mean())
        left = target - self._slope * merged - self._offset
        # A sign and a weight a column were chosen on the same labels: counted as two numbers in all, not as d.
        self._noise = float(np.sqrt((left**2).sum() / max(1, len(y) - 2)))

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each row of rankings, ``(n,)`` each."""
        x = np.asarray(x, dtype=float)
        mean = self._slope * (self._places(x) @ self._weights) + self._offset
        return self._shift + self._scale * mean, np.full(len(x), self._scale * self._noise)

    def select(
        self, x: Array, k: int, *, groups: NDArray[np.integer[Any]] | None = None, quota: Array | None = None
    ) -> NDArray[np.intp]:
        """Indices of ``k`` of the rows of ``x (n, d)``, best first.

        Before :meth:`fit` all rankings have one vote and larger is better; then signs and weights count.

        Args:
            x: the rankings, one a column, of everything that may be picked.
            k: how many.
            groups: the group of each row, ``(n,)``, such as a bin of its parameters; ``None`` for no quotas.
            quota: the share of each group in the order of ``np.unique(groups)``; ``None`` for its share of the rows.

        Raises:
            InvalidData: for rows that are not finite, a group for each that is missing, or other columns than fitted.
            InvalidOption: for a ``k`` outside ``0..n`` or shares that are negative or not one a group.
        """
        x, _ = checked(x, np.zeros(len(x)))
        if isinstance(k, bool) or not 0 <= k <= len(x):
            raise InvalidOption(f"k={k!r} is not a number of rows from 0 to {len(x)}")
        weights = self._weights if len(self._weights) else np.ones(x.shape[1])
        if len(weights) != x.shape[1]:
            raise InvalidData(f"signs and weights were learnt for {len(weights)} rankings, these are {x.shape[1]}")
        places = _positions(np.where(weights < 0, -x, x))
        group, room = _rooms(len(x), k, groups, quota)
        return _greedy(places, np.abs(weights), k, self._score, group, room)

    def _places(self, x: Array) -> Array:
        """Where each value stands among those learnt from, 0 to 1, ``(n, d)``; between and beyond them too."""
        columns = [
            np.searchsorted(known, wanted, "left") + np.searchsorted(known, wanted, "right")
            for known, wanted in zip(self._sorted.T, x.T, strict=True)
        ]
        return np.stack(columns, axis=1) / (2 * len(self._sorted)) if columns else np.zeros((len(x), 0))


def _positions(x: Array) -> Array:
    """The mid-rank of every value in its column, from 0 to 1, ``(n, d)``."""
    return np.stack([mid_ranks(column) for column in x.T], axis=1) if x.shape[1] else np.zeros(x.shape)


def _rooms(
    n: int, k: int, groups: NDArray[np.integer[Any]] | None, quota: Array | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The group of each row, ``(n,)``, and how many of each may be picked; together at least ``k``."""
    if groups is None:
        return np.zeros(n, dtype=np.intp), np.array([k])
    if np.shape(groups) != (n,):
        raise InvalidData(f"every one of {n} rows needs a group, got {np.shape(groups)}")
    names, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    shares = sizes / n if quota is None else np.asarray(quota, dtype=float)
    if shares.shape != (len(names),) or not np.isfinite(shares).all() or (shares < 0).any() or not shares.sum():
        raise InvalidOption(f"quota is one share for each of {len(names)} groups, none negative; got {quota!r}")
    # A group that cannot fill its share takes all it has, and the others share what is left.
    exact, full = np.zeros(len(names)), np.zeros(len(names), dtype=bool)
    while True:
        open_shares = np.where(full, 0.0, shares if shares[~full].sum() > 0 else 1.0)
        exact = np.where(full, sizes, (k - sizes[full].sum()) * open_shares / max(open_shares.sum(), 1e-300))
        over = ~full & (exact > sizes)
        if not over.any():
            break
        full |= over
    room = np.floor(exact + 1e-9).astype(np.intp)
    room[np.argsort(room - exact, kind="stable")[: k - int(room.sum())]] += 1  # the largest remainders
    return group.astype(np.intp), room


def _greedy(
    places: Array, weights: Array, k: int, score: Score, group: NDArray[np.intp], room: NDArray[np.intp]
) -> NDArray[np.intp]:
    """The pick of largest gain, ``k`` times, among the groups that have room left."""
    room, picked = room.copy(), np.zeros(0, dtype=np.intp)
    free = np.ones(len(places), dtype=bool)
    tie = 1e-9 * places @ weights
    for _ in range(k):
        gain = _gains(places, places[picked], score) @ weights + tie
        best = int(np.argmax(np.where(free & (room[group] > 0), gain, -np.inf)))
        free[best], picked = False, np.append(picked, best)
        room[group[best]] -= 1
    return picked


def _gains(places: Array, chosen: Array, score: Score) -> Array:
    """What each row would add to the worth of the ``chosen`` ones, per ranking, ``(n, d)``."""
    if score == "borda" or not len(chosen):
        return places
    if score == "chamberlin_courant":
        return np.asarray(np.maximum(places - chosen.max(axis=0), 0.0))
    ordered = -np.sort(-chosen, axis=0)
    shares = 1 / np.arange(1.0, len(chosen) + 2)
    # Put at position r it counts 1/(r+1) of itself, and all that follow move one place down.
    after = ordered * np.diff(shares)[:, None]
    behind = np.concatenate([np.cumsum(after[::-1], axis=0)[::-1], np.zeros((1, after.shape[1]))])
    gains = np.empty_like(places)
    for column in range(places.shape[1]):
        rank = np.searchsorted(-ordered[:, column], -places[:, column], "right")
        gains[:, column] = places[:, column] * shares[rank] + behind[rank, column]
    return gains
