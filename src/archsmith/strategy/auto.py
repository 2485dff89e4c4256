"""The default: Bayesian optimisation on the structure of architectures, for few and expensive evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.encoding.base import Encoding
from archsmith.encoding.option_counts import OptionCounts
from archsmith.encoding.path_statistics import PathStatistics
from archsmith.evaluation import Evaluation
from archsmith.method import OURS
from archsmith.metric import Limit, Objective
from archsmith.pareto import is_non_dominated
from archsmith.space.alike import alike_choices
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Recalling
from archsmith.strategy.kit.choice_models import ChoiceModels, FittedModels
from archsmith.strategy.kit.first_designs import LEAST_FITTED, even_designs, missing_first
from archsmith.strategy.kit.group_moves import evened, exchanged
from archsmith.strategy.kit.history import RowHistory, row_names
from archsmith.strategy.kit.hypervolume_improvement import EXACT_OBJECTIVES, REFERENCE, ExpectedImprovement
from archsmith.strategy.kit.observations import usable
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.scales import VIEWS, View
from archsmith.strategy.kit.variation import CROSSOVER, Floats, Rows, best_first, breed, constrained_ranks

OWN_BOX = 0.5
"""Share of the proposals for which it is the front's own box, where there are limits."""
LEAST_SKILL = 0.05
"""Share of variance explained below which predictions are not followed half of the time."""
NEIGHBOURS, MUTANTS, CROSSED, EXCHANGED, RANDOM = 1000, 600, 400, 100, 1000
"""Candidates near the front, two edits away, between two of its members (by choices, by groups), and anywhere."""
COUNTED_MEMBERS = 4
"""Members of the front whose neighbours are counted, to know how many members are enough."""
EXPANSIONS, EXPANDED = 2, 10
"""How often neighbours join the candidates, and of how many of the best candidates."""
LEAST_IMPROVEMENT = 1e-6
"""Expected improvement, as a share of the box around everything measured, below which all candidates are alike."""
LEAST_CHANCE = 0.02
"""Predicted chance of holding all limits below which a design is not worth an evaluation."""
SCREENED = 300
"""Candidates for which the improvement of three objectives is computed."""


class Auto(Recalling):
    """The default strategy: Gaussian processes on choices and graph features, expected hypervolume improvement.

    After a few designs that span the space, one Gaussian process an objective
    (:class:`~archsmith.predictor.choice_gaussian_process.ChoiceGaussianProcess`) learns from the choices, from graph
    features where the space has a graph view, and from free metrics where they are given. The candidate of the highest
    expected hypervolume improvement is measured; candidates are neighbours of the front, crossings of its members, its
    members with whole groups of alike choices moved at once, and random designs, then neighbours of the best
    candidates.

    What makes it robust:

    * each proposal draws the scale on which costs are learnt: normal scores, or a logarithm of the distance from the
      best; of costs that add up over a network a line on their own scale, or a sum over how often each option is taken,
      is learnt first, and the process learns the residuals (:class:`~archsmith.strategy.kit.trend.Trend`);
    * the hypervolume counts in a box around everything measured, which rewards designs beyond the ends of the front;
      with limits, half of the time in the front's own box, which rewards designs between its ends;
    * a share ``local`` of the proposals are random neighbours of the front; so is every proposal for which no candidate
      promises an improvement;
    * failures and limits are probabilities that multiply the improvement; as long as nothing feasible is known the
      probability alone is maximised;
    * where left-out evaluations cannot be predicted, half of the proposals are bred as NSGA-II would;
    * outstanding proposals count as measured at their predicted values, so that batches spread.

    With more than three objectives each proposal draws the three that count.

    Args:
        space: a space of choices.
        objectives: any number.
        limits: feasible designs come before all others.
        rng: the only source of randomness.
        initial: evaluations before the first fit.
        local: share of proposals that are random neighbours of the front.
        graph: use the graph view of the space where it has one.
        free: an encoding of what is known of every candidate without evaluating it, such as parameters and MACs; NaN
            where it is not known.
        learn_from: evaluations that predictions are fitted on at most: half of them the best, half the latest.

    Raises:
        InvalidOption: for an option outside its range.
    """

    paper = OURS
    handles: ClassVar[Handles] = Handles(rows=True)

    def __init__(  # noqa: PLR0913 - its options
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        initial: int = 12,
        local: float = 0.1,
        graph: bool = True,
        free: Encoding | None = None,
        learn_from: int = 300,
    ) -> None:
        self._initial = whole("initial", initial, least=LEAST_FITTED)
        self._local = number("local", local, most=1)
        encodings: list[Encoding] = [
            PathStatistics(space) if graph and space.wiring is not None else OptionCounts(space)
        ]
        self._history = RowHistory(space, objectives, limits)
        self._models = ChoiceModels(
            self._history, [*encodings, *([free] if free else [])], whole("learn_from", learn_from, least=LEAST_FITTED)
        )
        self._space = space
        self._groups = alike_choices(space.choices)
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: the first designs, then what promises most."""
        proposals: list[Proposal] = []
        known = len(usable(self._history))
        first = missing_first(self._history, n, self._initial)
        if first > 0:
            proposals += self._first(first)
        if known >= LEAST_FITTED and len(proposals) < n:
            proposals += self._promising(n - len(proposals))
        return proposals

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones teach where failures are likely."""
        self._history.tell(evaluations)

    @property
    def generator(self) -> np.random.Generator:
        """The only source of randomness."""
        return self._rng

    def recall(self, n: int, given: Sequence[Proposal]) -> None:
        """Note what was proposed; models are fitted only where asking tuned them: later fits start from there."""
        known = len(usable(self._history))
        first = missing_first(self._history, n, self._initial)
        if known >= LEAST_FITTED and 0 < first < n:
            self.ask(n)  # first designs and promising ones at once: happens once in a search
            return
        if known >= LEAST_FITTED and n > 0 and first <= 0:
            view = self._drawn_view()
            if self._models.is_due(view):
                self._models.fitted(view)
        self._history.recall(given)

    # First designs -----------------------------------------------------------------------------------------------

    def _first(self, n: int) -> list[Proposal]:
        """The same relative option everywhere, as far as there are such designs; then rare options first."""
        rows = even_designs(self._history, self._initial)[:n]
        proposals = self._history.propose(self._space.architectures(rows))
        while len(proposals) < n:
            drawn = self._history.fresh_rows(50, self._rng)
            if not len(drawn):
                break
            known = np.concatenate([self._history.rows, self._space.rows(list(self._history.open.values()))])
            met = (drawn[:, None] == known).sum(axis=(1, 2)) if len(known) else np.zeros(len(drawn))
            proposals += self._history.propose(self._space.architectures(drawn[[int(np.argmin(met))]]))
        return proposals

    # Promising designs -------------------------------------------------------------------------------------------

    def _promising(self, n: int) -> list[Proposal]:
        models = self._models.fitted(self._drawn_view())
        best = models.rows[constrained_ranks(models.costs, models.violations) == 0]
        proposals: list[Proposal] = []
        for _ in range(n):
            row = None
            if models.skill < LEAST_SKILL and self._rng.random() < 0.5:
                row = self._bred(models)
            elif self._rng.random() >= self._local:
                row = self._best_candidate(models, best)
            if row is None:
                row = self._neighbour(models, best)
            if row is None:
                break
            proposals += self._history.propose(self._space.architectures(row[None]))
        return proposals

    def _drawn_view(self) -> View:
        return VIEWS[int(self._rng.integers(len(VIEWS)))]

    def _best_candidate(self, models: FittedModels, best: Rows) -> Rows | None:
        """The candidate of highest expected improvement; None where none promises any."""
        promise = self._promise(models)
        pool = self._pool(best)
        if not len(pool):
            return None
        worth = promise(pool)
        for _ in range(EXPANSIONS):
            top = pool[np.argsort(-worth, kind="stable")[:EXPANDED]]
            met = set(row_names(pool))
            near = self._space.neighbour_rows(top)
            near = near[self._history.is_new(near)]
            near = near[[name not in met for name in row_names(near)]]
            if not len(near):
                break
            near = near[self._rng.permutation(len(near))[:NEIGHBOURS]]
            pool, worth = np.concatenate([pool, near]), np.concatenate([worth, promise(near)])
        # A flat improvement says nothing: its first maximum would be an arbitrary design.
        return pool[int(np.argmax(worth))] if worth.max() > LEAST_IMPROVEMENT else None

    def _promise(self, models: FittedModels) -> Callable[[Rows], Floats]:
        """What a candidate promises, for at most three objectives drawn for this proposal."""
        costs = models.costs
        counted = np.sort(self._rng.permutation(costs.shape[1])[:EXACT_OBJECTIVES])
        feasible = models.violations == 0
        if not feasible.any():
            return lambda rows: 1 / (1 - models.log_chance(self._models.encode(rows)))
        known = costs[feasible]
        if self._history.open:
            waiting = self._space.rows(list(self._history.open.values()))
            known = np.concatenate([known, models.posterior(self._models.encode(waiting)).mean])
        known, every = known[:, counted], costs[:, counted]
        front = known[is_non_dominated(known)]
        # The wide box rewards designs beyond the ends of the front. With a limit it is too wide by all that breaks
        # it: there the front's own box, which pays for what lies between the ends, takes turns with it.
        own = bool(models.bounds) and len(front) > COUNTED_MEMBERS and self._rng.random() < OWN_BOX
        box = front if own else every
        low, span = box.min(axis=0), np.ptp(box, axis=0)
        span = np.where(span > 0, span, 1.0)
        front, reference = (front - low) / span, np.full(len(counted), REFERENCE)
        improvement = ExpectedImprovement(front, reference)

        def promise(rows: Rows) -> Floats:
            x = self._models.encode(rows)
            posterior = models.posterior(x)
            mean, std = (posterior.mean[:, counted] - low) / span, posterior.std[:, counted] / span
            if len(counted) < EXACT_OBJECTIVES or len(rows) <= SCREENED:
                return improvement(mean, std) * _likely(models.log_chance(x))
            hopeful = np.prod(np.maximum(reference - mean + std, 0.0), axis=1)
            beaten = (front[None] <= (mean - std)[:, None]).all(axis=2).any(axis=1)
            near = np.argsort(np.where(beaten, 0.0, -hopeful), kind="stable")[:SCREENED]
            worth = np.zeros(len(rows))
            gain = improvement(mean[near], std[near])
            worth[near] = gain * _likely(models.log_chance(x[near]))
            return worth

        return promise

    def _pool(self, best: Rows) -> Rows:
        """New candidates: near the front, between its members, and anywhere."""
        near = self._near(best, NEIGHBOURS)
        two = near[self._rng.integers(0, len(near), MUTANTS)] if len(near) else near
        pairs = best[self._rng.integers(0, len(best), (2, CROSSED))]
        some = best[self._rng.permutation(len(best))[:EXPANDED]]
        pool = np.concatenate(
            [
                near,
                evened(self._space, self._groups, some),
                exchanged(self._space, self._groups, pairs[0][:EXCHANGED], pairs[1][:EXCHANGED], self._rng),
                self._space.mutate_rows(two, self._rng),
                self._space.crossover_rows(pairs[0], pairs[1], self._rng),
                self._space.sample_rows(RANDOM, self._rng),
            ]
        )
        return pool[self._history.is_new(pool)]

    def _near(self, best: Rows, n: int) -> Rows:
        """About ``n`` neighbours of members of the front in random order."""
        order = self._rng.permutation(len(best))
        near = self._space.neighbour_rows(best[order[:COUNTED_MEMBERS]])
        if len(near) < n and len(best) > COUNTED_MEMBERS:
            near = np.concatenate(
                [
                    near,
                    self._space.neighbour_rows(best[order[COUNTED_MEMBERS : COUNTED_MEMBERS * n // max(1, len(near))]]),
                ]
            )
        return near

    def _neighbour(self, models: FittedModels, best: Rows) -> Rows | None:
        """A new neighbour of the front, rather one that will hold the limits; else any new design."""
        near = self._near(best, NEIGHBOURS)
        near = near[self._history.is_new(near)]
        if len(near) and (models.bounds or models.failing is not None):
            likely = models.log_chance(self._models.encode(near)) > np.log(0.5)
            near = near[likely] if likely.any() else near
        if not len(near):
            near = self._history.fresh_rows(1, self._rng)
        return near[int(self._rng.integers(len(near)))] if len(near) else None

    def _bred(self, models: FittedModels) -> Rows | None:
        """A new child of the best rows, as NSGA-II would breed it; None where none is found."""
        order = best_first(models.costs, models.violations, self._initial)
        children, _ = breed(
            self._space, models.rows[order], EXPANDED, crossover=CROSSOVER, mutation=None, rng=self._rng
        )
        children = children[self._history.is_new(children)]
        return children[0] if len(children) else None


def _likely(log_chance: Floats) -> Floats:
    """The factor by which chances count, ``(k,)``."""
    return np.where(log_chance > np.log(LEAST_CHANCE), np.exp(log_chance), 0.0)
