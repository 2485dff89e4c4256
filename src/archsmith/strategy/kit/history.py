"""What every strategy remembers: what it asked, what it was told, what is still open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Architecture, Proposal
from archsmith.errors import InvalidArchitecture, InvalidOption
from archsmith.evaluation import Evaluation, costs, violations
from archsmith.metric import Limit, Objective
from archsmith.space.base import Space
from archsmith.space.choice_space import ChoiceSpace

RANDOM_DRAWS = 1000
"""Random designs that are drawn in vain before the neighbourhood of the known ones is searched."""


class History:
    """Asked, told and open architectures of one search, each known by its key.

    Only full evaluations count: one told at a lower fidelity is not comparable and is passed over. Of several
    evaluations of one architecture the latest successful one is kept.

    Args:
        space: whose architectures are accepted.
        objectives: what is minimised once their direction is applied.
        limits: resolved to absolute bounds.
    """

    def __init__(self, space: Space, objectives: Sequence[Objective], limits: Sequence[Limit]) -> None:
        if not objectives:
            raise InvalidOption("a strategy needs at least one objective, got none; see archsmith.metric.objectives")
        if relative := [str(limit) for limit in limits if limit.relative]:
            raise InvalidOption(f"limits {relative} are relative; resolve them with the largest network's values first")
        self.space = space
        self.objectives = tuple(objectives)
        self.limits = tuple(limits)
        self.open: dict[str, Architecture] = {}
        self.told: dict[str, Evaluation] = {}

    def __contains__(self, architecture: object) -> bool:
        return isinstance(architecture, Architecture) and (
            architecture.key in self.told or architecture.key in self.open
        )

    def propose(self, architectures: Iterable[Architecture], parents: Sequence[str | None] = ()) -> list[Proposal]:
        """Note ``architectures`` as asked and wrap them; ``parents`` are keys, as many or none."""
        found = []
        for i, architecture in enumerate(architectures):
            self.open[architecture.key] = architecture
            found.append(Proposal(architecture, parent=parents[i] if parents else None))
        return found

    def recall(self, given: Sequence[Proposal]) -> None:
        """Note what was proposed once; see :class:`archsmith.strategy.base.Recalling`.

        Raises:
            InvalidArchitecture: for an architecture that is no point of the space.
        """
        for proposal in given:
            if not self.space.contains(proposal.architecture):
                raise InvalidArchitecture(f"{proposal.architecture} is no point of the space that is searched")
        self.propose([proposal.architecture for proposal in given])

    def tell(self, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
        """Take in evaluations; all or, after an error, none of them.

        Returns:
            The full evaluations among them whose record changed.

        Raises:
            InvalidArchitecture: for an architecture of another space.
            InvalidOption: for an evaluation without one of the objectives.
        """
        for e in evaluations:
            if e.architecture.space != self.space.fingerprint:
                raise InvalidArchitecture(
                    f"{e.architecture} is of space {e.architecture.space}, this search is of {self.space.fingerprint}; "
                    "tell a strategy about its own space only"
                )
            if missing := [o.metric for o in self.objectives if e.ok and o.metric not in e.values]:
                raise InvalidOption(
                    f"the evaluation of {e.architecture} lacks {missing} of the objectives, it has {sorted(e.values)}; "
                    "an evaluator gives every objective or fails"
                )
        changed = []
        for e in evaluations:
            if e.proposal.fidelity:
                continue
            key = e.architecture.key
            self.open.pop(key, None)
            if e.ok or key not in self.told:
                self.told[key] = e
                changed.append(e)
        return changed

    def fresh(self, n: int, rng: np.random.Generator) -> list[Architecture]:
        """Up to ``n`` random architectures that are neither told nor open.

        Where random draws hit known ones only, the neighbours of the known ones are searched, so that a small space is
        used up to its last architecture.
        """
        found: dict[str, Architecture] = {}
        drawn, batch = 0, n
        while len(found) < n and drawn < RANDOM_DRAWS:
            for a in self.space.sample(batch, rng):
                if a not in self and len(found) < n:
                    found.setdefault(a.key, a)
            drawn += batch
            batch = min(2 * batch, RANDOM_DRAWS)
        if len(found) < n:
            self._add_neighbours(found, n, rng)
        return list(found.values())

    def _add_neighbours(self, found: dict[str, Architecture], n: int, rng: np.random.Generator) -> None:
        known = [e.architecture for e in self.told.values()] + list(self.open.values()) + list(found.values())
        for i in rng.permutation(len(known)):
            for a in self.space.neighbours(known[i]):
                if len(found) == n:
                    return
                if a not in self:
                    found.setdefault(a.key, a)


class RowHistory(History):
    """A history over the rows of a ``ChoiceSpace``, with costs and violations as arrays in the order told.

    Attributes:
        rows: ``(n, d)`` of every architecture told.
        keys: their keys.
        costs: ``(n, m)``, smaller is better, ``inf`` for failed ones.
        violations: ``(n,)``, 0 for feasible ones, ``inf`` for failed ones.
    """

    space: ChoiceSpace

    def __init__(self, space: ChoiceSpace, objectives: Sequence[Objective], limits: Sequence[Limit]) -> None:
        super().__init__(space, objectives, limits)
        self._index: dict[str, int] = {}
        self._known: set[bytes] = set()
        self.keys: list[str] = []
        self.rows = space.rows([])
        self.costs: NDArray[np.float64] = np.zeros((0, len(self.objectives)))
        self.violations: NDArray[np.float64] = np.zeros(0)

    @property
    def evaluations(self) -> list[Evaluation]:
        """In the order of :attr:`rows`."""
        return [self.told[key] for key in self.keys]

    @property
    def succeeded(self) -> NDArray[np.bool_]:
        """Which evaluations did not fail, ``(n,)``."""
        return np.asarray(np.isfinite(self.costs).all(axis=1))

    def propose(self, architectures: Iterable[Architecture], parents: Sequence[str | None] = ()) -> list[Proposal]:
        """Note ``architectures`` as asked and wrap them; ``parents`` are keys, as many or none."""
        architectures = list(architectures)
        self._known.update(row_names(self.space.rows(architectures)))
        return super().propose(architectures, parents)

    def tell(self, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
        """Take in evaluations; all or, after an error, none of them. See :meth:`History.tell`."""
        told = super().tell(evaluations)
        changed = list({e.architecture.key: e for e in told}.values())
        if not changed:
            return changed
        rows = self.space.rows([e.architecture for e in changed])
        self._known.update(row_names(rows))
        new = [i for i, e in enumerate(changed) if e.architecture.key not in self._index]
        for i in new:
            self._index[changed[i].architecture.key] = len(self.keys)
            self.keys.append(changed[i].architecture.key)
        self.rows = np.concatenate([self.rows, rows[new]])
        self.costs = np.concatenate([self.costs, np.full((len(new), len(self.objectives)), np.inf)])
        self.violations = np.concatenate([self.violations, np.full(len(new), np.inf)])
        at = [self._index[e.architecture.key] for e in changed]
        latest = [self.told[e.architecture.key] for e in changed]
        self.costs[at] = costs(latest, self.objectives)
        self.violations[at] = violations(latest, self.limits)
        return changed

    def is_new(self, rows: NDArray[np.int16]) -> NDArray[np.bool_]:
        """Which of canonical ``rows (n, d)`` are neither told nor open, each counted once: ``(n,)``."""
        new = np.zeros(len(rows), dtype=bool)
        names = row_names(rows)
        first = dict(zip(reversed(names), range(len(names) - 1, -1, -1), strict=True))
        new[[i for name, i in first.items() if name not in self._known]] = True
        return new

    def fresh_rows(self, n: int, rng: np.random.Generator) -> NDArray[np.int16]:
        """Up to ``n`` random new rows; see :meth:`History.fresh`."""
        return self.space.rows(self.fresh(n, rng))


def row_names(rows: NDArray[np.int16]) -> list[bytes]:
    """The bytes of each of ``rows (n, d)``: equal for equal rows, and quick to look up."""
    rows = np.ascontiguousarray(rows, dtype=np.int16)
    width = rows.itemsize * rows.shape[1]
    if not len(rows) or not width:
        return [b""] * len(rows)
    names: Any = rows.view(np.dtype((np.void, width))).ravel().tolist()
    return list(names)
