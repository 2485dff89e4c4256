"""What a space holds: drawing from it, listing it and counting it, with constraints and symmetries in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from archsmith.errors import InvalidSpace
from archsmith.space.forest import Rows
from archsmith.space.sizes import Size

if TYPE_CHECKING:
    from archsmith.space.choice_space import ChoiceSpace

MOST_ENUMERATED = 10**7
_MOST_REJECTED = 400_000  # fruitless draws in a row before sampling gives up
_ESTIMATE_DRAWS = 100_000
_LARGEST_BATCH = 65536


def sample(space: ChoiceSpace, n: int, rng: np.random.Generator, *, per_architecture: bool) -> Rows:
    """``n`` valid canonical rows; see :meth:`ChoiceSpace.sample_rows`."""
    found, have, fruitless, size = [np.zeros((0, len(space.choices)), dtype=np.int16)], 0, 0, n
    while have < n:
        rows = _accepted(space, space.forest.sample(size, rng, per_architecture=per_architecture), per_architecture)
        found.append(rows)
        have += len(rows)
        fruitless = 0 if len(rows) else fruitless + size
        if fruitless >= _MOST_REJECTED:
            raise InvalidSpace(
                f"none of {fruitless:,} random architectures is valid; loosen the constraints: "
                + "; ".join(c.expression for c in space.constraints)
            )
        size = min(max(1024, 2 * n), _LARGEST_BATCH)
    return found[-1] if len(found) == 2 and have == n else np.concatenate(found)[:n]


def _accepted(space: ChoiceSpace, drawn: Rows, per_architecture: bool) -> Rows:  # noqa: FBT001 - private
    """The canonical rows of what was drawn, less what the rules forbid."""
    rows = space.canonical_rows(drawn)
    keep = space.rules.valid(rows)
    if per_architecture and space.symmetries:
        # What has many equal forms is drawn often; accepting one of its forms only makes that good.
        keep &= (rows == np.where(space.forest.active(drawn), drawn, 0)).all(axis=1)
    return rows if keep.all() else rows[keep]


def enumerate_rows(space: ChoiceSpace) -> Rows:
    """All valid canonical rows; see :meth:`ChoiceSpace.enumerate_rows`."""
    if space.forest.count > MOST_ENUMERATED:
        raise InvalidSpace(
            f"{space!r} has {Size.counted(space.forest.count)} before its rules, more than the {MOST_ENUMERATED:,} "
            "that can be listed; use sample_rows(n, rng), or size() if it is the number that you want"
        )
    return np.concatenate([_members(space, block) for block in space.forest.blocks()])


def size(space: ChoiceSpace) -> Size:
    """How many architectures there are; see :meth:`ChoiceSpace.size`."""
    count = space.forest.count
    if not space.constraints and not space.symmetries:
        return Size.counted(count)
    if count <= MOST_ENUMERATED:
        return Size.counted(sum(len(_members(space, block)) for block in space.forest.blocks()))
    drawn = space.forest.sample(_ESTIMATE_DRAWS, np.random.default_rng(0), per_architecture=True)
    share = len(_accepted(space, drawn, per_architecture=True)) / _ESTIMATE_DRAWS
    return Size.estimated(share=share, draws=_ESTIMATE_DRAWS, of=count)


def _members(space: ChoiceSpace, block: Rows) -> Rows:
    """Of rows with inactive choices at 0 those that are canonical and valid."""
    if space.symmetries:
        block = block[(space.canonical_rows(block) == block).all(axis=1)]
    return block[space.valid(block)] if space.constraints else block
