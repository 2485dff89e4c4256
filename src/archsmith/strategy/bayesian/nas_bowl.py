"""Bayesian optimisation on operator graphs, and the motifs that it found to matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.pareto import is_non_dominated
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.first_designs import LEAST_FITTED, even_first
from archsmith.strategy.kit.graph_models import GraphModels, Motif
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.hypervolume_improvement import EXACT_OBJECTIVES, ExpectedImprovement
from archsmith.strategy.kit.observations import usable
from archsmith.strategy.kit.options import whole
from archsmith.strategy.kit.scales import VIEWS
from archsmith.strategy.kit.variation import Floats, Rows, best_first

MARGIN = 0.1
"""How far beyond the box of the front the reference point lies, as a share of its range."""
SINGLE_OBJECTIVE_SHARE = 0.1
"""Share of proposals that improve a single objective: an end of the front may lie far from all that is known."""
NO_IMPROVEMENT = 1e-9
"""Expected improvement, in boxes of the front, that counts as none."""


class NasBowl(Strategy):
    """NAS-BOWL: a Gaussian process on Weisfeiler-Lehman features of graphs, expected improvement over mutated pools.

    The features of an architecture count the operations in its graph, then the operations with what they read, and so
    on outwards. A Gaussian process with a linear kernel on them predicts each objective; what is asked next has the
    largest expected improvement in a pool of mutants of the best designs and of random ones. Because the features are
    interpretable, so is the model: :meth:`motifs` names those whose gradient of the predicted mean helps or harms most.

    Spaces without a graph view (no ``wiring``) fall back on one-hot choices and the same kernel: options take the place
    of motifs.

    Departures from Ru et al. 2021:

    * Several objectives: the expected improvement of the hypervolume, exact for independent predictions of up to three
      objectives; of more, three are drawn for each proposal. One proposal in ten improves one objective alone.
    * The kernel on the counts is mixed with an exponential one of their distance where the marginal likelihood of all
      targets wants it; the reach of the motifs is an option.
    * Targets are warped, drawn anew for each proposal: normal scores or logarithms, in place of logarithms alone.
    * Limits multiply the improvement by the probability that they hold, learnt from the pessimistic end of each
      measured interval; where nothing feasible is known the probability alone counts. So does the chance that an
      evaluation fails.
    * Open and just picked designs count as measured at their predicted values, so that batches spread.
    * The first designs have the same relative option everywhere, up to half of ``initial``; then come random ones.
    * No architecture is asked twice.

    Args:
        space: a space of choices, best with a graph view.
        objectives: any number.
        limits: feasible designs come first.
        rng: the only source of randomness.
        initial: evaluations before the first fit.
        pool: candidates a proposal, half mutants and half random.
        parents: how many of the best are mutated.
        rounds: how far a motif reaches.
        every: evaluations between two choices of the kernel; the noise is chosen each time.
        most: evaluations that are learnt from, half of them the best and half the latest; time grows with the cube.

    Raises:
        InvalidOption: for an option outside its range.
    """

    paper = Paper(
        authors="Ru, Binxin and Wan, Xingchen and Dong, Xiaowen and Osborne, Michael",
        title="Interpretable Neural Architecture Search via Bayesian Optimisation with Weisfeiler-Lehman Kernels",
        year=2021,
        venue="ICLR",
        arxiv="2006.07556",
    )
    handles: ClassVar[Handles] = Handles(rows=True)

    def __init__(  # noqa: PLR0913 - its options
        self,
        space: ChoiceSpace,
        objectives: Sequence[Objective],
        limits: Sequence[Limit] = (),
        *,
        rng: np.random.Generator,
        initial: int = 12,
        pool: int = 300,
        parents: int = 20,
        rounds: int = 2,
        every: int = 10,
        most: int = 300,
    ) -> None:
        self._initial = whole("initial", initial, least=LEAST_FITTED)
        self._pool = whole("pool", pool, least=2, most=10**5)
        self._parents = whole("parents", parents, least=1)
        self._history = RowHistory(space, objectives, limits)
        self._models = GraphModels(
            self._history,
            rounds=whole("rounds", rounds, least=0, most=6),
            every=whole("every", every, least=1),
            most=whole("most", most, least=10),
        )
        self._space = space
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: ``initial`` first designs, then those of largest expected improvement."""
        if n <= 0:
            return []
        proposals = even_first(self._history, n, self._initial, self._rng)
        if len(proposals) < n and len(usable(self._history)) >= LEAST_FITTED:
            proposals += self._history.propose(self._space.architectures(self._picked(n - len(proposals))))
        if missing := n - len(proposals):
            proposals += self._history.propose(self._history.fresh(missing, self._rng))
        return proposals

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones teach where failures are likely."""
        self._history.tell(evaluations)

    def motifs(self, k: int = 5, objective: str | None = None) -> list[Motif]:
        """The ``k`` features that help an objective most and the ``k`` that harm it most, best first.

        Args:
            k: how many of either; fewer where fewer are known.
            objective: its metric; the first objective by default.

        Raises:
            InvalidOption: for another metric, or before three evaluations succeeded.
        """
        k = whole("k", k, least=1)
        metrics = [o.metric for o in self._history.objectives]
        if objective is not None and objective not in metrics:
            raise InvalidOption(f"objective={objective!r} is not one of {', '.join(metrics)}")
        if len(usable(self._history)) < LEAST_FITTED:
            raise InvalidOption(f"motifs are read off {LEAST_FITTED} or more successful evaluations; tell more first")
        motifs = self._models.motifs(metrics.index(objective) if objective else 0)
        motifs.sort(key=lambda motif: -motif.effect)
        return motifs if len(motifs) <= 2 * k else motifs[:k] + motifs[-k:]

    def _picked(self, n: int) -> Rows:
        """Up to ``n`` new rows, one after the other; none where the pool holds nothing new."""
        history, rng = self._history, self._rng
        ok = usable(history)
        best = history.rows[ok[best_first(history.costs[ok], history.violations[ok], self._parents)]]
        half = max(self._pool // 2, n)
        mutants = self._space.mutate_rows(best[rng.integers(len(best), size=half)], rng)
        pool = np.concatenate([mutants, self._space.sample_rows(half, rng)])
        new = history.is_new(pool)
        near, pool = int(new[:half].sum()), pool[new]
        if not len(pool):
            return pool
        opened = self._space.rows(list(history.open.values()))
        view = VIEWS[int(rng.integers(len(VIEWS)))]
        posterior, log_chance = self._models.posterior(np.concatenate([pool, opened]), view)
        mean, std, log_chance = posterior.mean[: len(pool)], posterior.std[: len(pool)], log_chance[: len(pool)]
        base, expected = self._models.feasible_costs(view), posterior.mean[len(pool) :]
        picked: list[int] = []
        for _ in range(min(n, len(pool))):
            gain = log_chance
            if len(base):
                gain = np.exp(log_chance) * self._improvement(base, expected, mean, std)
            gain = np.where(np.isin(np.arange(len(pool)), picked), -np.inf, gain)
            best_one = int(np.argmax(gain))
            if (
                len(base) and gain[best_one] <= NO_IMPROVEMENT
            ):  # it knows nothing better: near the front, not the first of all
                left = np.setdiff1d(np.arange(near or len(pool)), picked)
                best_one = int(rng.choice(left)) if len(left) else best_one
            picked.append(best_one)
            expected = np.concatenate([expected, mean[[best_one]]])
        return pool[picked]

    def _improvement(self, base: Floats, expected: Floats, mean: Floats, std: Floats) -> Floats:
        """Expected growth of the hypervolume of ``base`` and what is ``expected``, in units of the front's box."""
        rng, m = self._rng, base.shape[1]
        chosen = np.arange(m) if m <= EXACT_OBJECTIVES else np.sort(rng.choice(m, EXACT_OBJECTIVES, replace=False))
        if rng.random() < SINGLE_OBJECTIVE_SHARE:
            chosen = rng.integers(m, size=1)
        base, expected, mean, std = base[:, chosen], expected[:, chosen], mean[:, chosen], std[:, chosen]
        front = base[is_non_dominated(base)]
        box = front if rng.random() < 0.5 else base  # the whole box finds the ends of the front
        span = np.ptp(box, axis=0)
        span = np.where(span > 0, span, np.where(np.ptp(base, axis=0) > 0, np.ptp(base, axis=0), 1.0))
        reference = (box.max(axis=0) - front.min(axis=0)) / span + MARGIN
        low = front.min(axis=0)
        known = np.concatenate([front, expected])
        return ExpectedImprovement((known - low) / span, reference)((mean - low) / span, np.maximum(std / span, 1e-9))
