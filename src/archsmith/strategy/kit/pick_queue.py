"""Picks that wait to be proposed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from archsmith.architecture import Proposal
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.variation import Rows


class PickQueue:
    """Rows that were picked together and are proposed one by one; those that are known by then are left out.

    Args:
        history: of the search.
        rows: the first picks, ``(d,)`` each.
    """

    def __init__(self, history: RowHistory, rows: Iterable[Rows] = ()) -> None:
        self._history = history
        self._rows = list(rows)

    def propose(self, n: int, pick: Callable[[int], list[Rows]]) -> list[Proposal]:
        """Up to ``n`` new proposals.

        Args:
            n: how many.
            pick: gives at least so many new rows, called whenever none is left; none ends the search.
        """
        history, proposals = self._history, list[Proposal]()
        while len(proposals) < n:
            self._rows = [row for row in self._rows if history.is_new(row[None])[0]]
            if not self._rows:
                self._rows = pick(n - len(proposals))
            if not self._rows:
                break
            proposals += history.propose(history.space.architectures(self._rows.pop(0)[None]))
        return proposals
