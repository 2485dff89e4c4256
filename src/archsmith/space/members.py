"""The architectures of a space, drawn, listed and counted, under its constraints and symmetries."""

from __future__ import annotations

import numpy as np

from archsmith.errors import InvalidSpace
from archsmith.space.forest import Rows
from archsmith.space.rules import Rules
from archsmith.space.sizes import Size

MOST_ENUMERATED = 10**7
_MOST_REJECTED = 400_000  # fruitless draws in a row before sampling gives up
_ESTIMATE_DRAWS = 100_000
_LARGEST_BATCH = 65536


def sample(rules: Rules, n: int, rng: np.random.Generator, *, per_architecture: bool) -> Rows:
    """``n`` valid canonical rows; see :meth:`ChoiceSpace.sample_rows`."""
    found, have, fruitless, size = [np.zeros((0, len(rules.choices)), dtype=np.int16)], 0, 0, n
    while have < n:
        rows = _accepted(rules, rules.forest.sample(size, rng, per_architecture=per_architecture), per_architecture)
        found.append(rows)
        have += len(rows)
        fruitless = 0 if len(rows) else fruitless + size
        if fruitless >= _MOST_REJECTED:
            raise InvalidSpace(
                f"none of {fruitless:,} random architectures is valid; loosen the constraints: "
                + "; ".join(c.expression for c in rules.constraints)
            )
        size = min(max(1024, 2 * n), _LARGEST_BATCH)
    return found[-1] if len(found) == 2 and have == n else np.concatenate(found)[:n]


def _accepted(rules: Rules, drawn: Rows, per_architecture: bool) -> Rows:  # noqa: FBT001 - private
    """The canonical rows of drawn ones, without those that the rules forbid."""
    rows = rules.canonical(drawn)
    keep = rules.valid(rows)
    if per_architecture and rules.symmetries:
        # An architecture with many equal forms is drawn more often; accepting only one of its forms corrects that.
        keep &= (rows == np.where(rules.forest.active(drawn), drawn, 0)).all(axis=1)
    return rows if keep.all() else rows[keep]


def enumerate_rows(rules: Rules) -> Rows:
    """All valid canonical rows; see :meth:`ChoiceSpace.enumerate_rows`."""
    if rules.forest.count > MOST_ENUMERATED:
        raise InvalidSpace(
            f"the space has {Size.counted(rules.forest.count)} before its rules, more than the {MOST_ENUMERATED:,} "
            "that can be listed; use sample_rows(n, rng), or size() if it is the number that you want"
        )
    return np.concatenate([_members(rules, block) for block in rules.forest.blocks()])


def size(rules: Rules) -> Size:
    """How many architectures there are; see :meth:`ChoiceSpace.size`."""
    count = rules.forest.count
    if not rules.constraints and not rules.symmetries:
        return Size.counted(count)
    if count <= MOST_ENUMERATED:
        return Size.counted(sum(len(_members(rules, block)) for block in rules.forest.blocks()))
    drawn = rules.forest.sample(_ESTIMATE_DRAWS, np.random.default_rng(0), per_architecture=True)
    share = len(_accepted(rules, drawn, per_architecture=True)) / _ESTIMATE_DRAWS
    return Size.estimated(share=share, draws=_ESTIMATE_DRAWS, of=count)


def _members(rules: Rules, block: Rows) -> Rows:
    """Those rows that are canonical and valid; inactive choices must be at 0."""
    if rules.symmetries:
        block = block[(rules.canonical(block) == block).all(axis=1)]
    return block[rules.valid(block)] if rules.constraints else block
