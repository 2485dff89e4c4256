"""Optuna's tree-structured Parzen estimator, as a peer to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.errors import require
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.observations import usable
from archsmith.strategy.kit.options import whole
from archsmith.strategy.kit.variation import Rows

OPTUNA_DRAWS = 5
"""Draws for one proposal before a neighbour of the last one, and then a random design, takes its place."""


class Tpe(Strategy):
    """Multivariate TPE of Optuna: densities of good and of other designs, and the candidate with the largest ratio.

    What is told is split into good and other designs (by front and hypervolume with several objectives). Each part
    becomes a mixture of kernels over all choices together; candidates are drawn from the good one, and the one that
    is likeliest under it compared with the other is asked.

    Departures from the papers (Watanabe 2023; Ozaki et al. 2022 for several objectives) and from Optuna's own loop:

    * A draw that is known is drawn again a few times; then an untried neighbour of it takes its place.
    * Inactive choices keep their first option, as rows do; ordinal choices are integers, others categories.
    * Limits are Optuna's constraints. Failed evaluations are left out.
    * Open proposals are unknown to Optuna, so that results may come in any order.

    Args:
        space: a space of choices.
        objectives: any number.
        limits: feasible designs come before all others.
        rng: the only source of randomness.
        initial: random designs before the first densities.
        candidates: drawn for each proposal.

    Raises:
        InvalidOption: for an option outside its range.
        MissingExtra: without Optuna (extra ``optuna``).
    """

    paper = Paper(
        authors="Watanabe, Shuhei",
        title="Tree-Structured Parzen Estimator: Understanding Its Algorithm Components and Their Roles for Better "
        "Empirical Performance",
        year=2023,
        arxiv="2304.11127",
    )
    handles: ClassVar[Handles] = Handles(rows=True)

    def __init__(
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        initial: int = 10,
        candidates: int = 24,
    ) -> None:
        self._initial = whole("initial", initial, least=2)
        self._history = RowHistory(space, objectives, limits)
        self._optuna = require("optuna", extra="optuna", purpose="the strategy tpe")
        self._sampler = self._optuna.samplers.TPESampler(
            multivariate=True,
            constant_liar=False,
            n_startup_trials=initial,
            n_ei_candidates=whole("candidates", candidates, least=1, most=10**5),
            seed=int(rng.integers(2**31)),
        )
        self._study = self._new_study()
        self._distributions = {
            str(j): self._distribution(c.kind, len(c.options))
            for j, c in enumerate(space.choices)
            if len(c.options) > 1
        }
        self._space = space
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random ones first, then Optuna's."""
        if n <= 0:
            return []
        history = self._history
        ready = len(usable(history)) >= self._initial and bool(self._distributions)
        proposals = [] if ready else history.propose(history.fresh(n, self._rng))
        while ready and len(proposals) < n:
            rows = self._draw()
            if not len(rows):
                break
            proposals += history.propose(self._space.architectures(rows))
        return proposals + history.propose(history.fresh(n - len(proposals), self._rng))

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones only prevent a repetition."""
        before = len(self._history.keys)
        changed = self._history.tell(evaluations)
        if len(changed) > len(self._history.keys) - before:  # an old one has another value now
            self._study, before = self._new_study(), 0
        for place in usable(self._history):
            if place >= before:
                self._note(int(place))

    def _note(self, place: int) -> None:
        """One more finished trial of the study."""
        row = self._history.rows[place]
        broken = float(self._history.violations[place])
        self._study.add_trial(
            self._optuna.trial.create_trial(
                params={name: int(row[int(name)]) for name in self._distributions},
                distributions=self._distributions,
                values=[float(c) for c in self._history.costs[place]],
                constraints={"limits": broken} if self._history.limits else None,
            )
        )

    def _draw(self) -> Rows:
        """One new row ``(1, d)``, or none."""
        near = self._space.rows([])
        for _ in range(OPTUNA_DRAWS):
            trial = self._study.ask(self._distributions)
            # The study learns of canonical designs that were told; what it draws is no trial of its own.
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            row = np.zeros((1, len(self._space.choices)), dtype=np.int16)
            for name, option in trial.params.items():
                row[0, int(name)] = option
            row = self._space.canonical_rows(row)
            if not self._space.valid(row)[0]:
                continue
            if self._history.is_new(row)[0]:
                return row
            near = self._space.neighbour_rows(row[0])
            near = near[self._history.is_new(near)] if len(near) else near
        return near[self._rng.permutation(len(near))[:1]]

    def _new_study(self) -> Any:
        """An empty study in memory, made without a word in the log."""
        optuna = self._optuna
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            return optuna.create_study(directions=["minimize"] * len(self._history.objectives), sampler=self._sampler)
        finally:
            optuna.logging.set_verbosity(level)

    def _distribution(self, kind: str, options: int) -> Any:
        distributions = self._optuna.distributions
        if kind == "ordinal":
            return distributions.IntDistribution(0, options - 1)
        return distributions.CategoricalDistribution(list(range(options)))
