"""The iterative predictor search: measure a little, search exhaustively on predictions, measure the best, repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.encoding.base import Encoding
from archsmith.evaluation import Evaluation
from archsmith.method import Paper
from archsmith.metric import Limit, Objective
from archsmith.predictor.base import Predictor
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Handles, Strategy
from archsmith.strategy.kit.batch_selection import spread
from archsmith.strategy.kit.first_designs import LEAST_FITTED, even_first
from archsmith.strategy.kit.history import RowHistory
from archsmith.strategy.kit.inner_search import check_inner, searched
from archsmith.strategy.kit.inputs import encoding_of, maker
from archsmith.strategy.kit.observations import usable
from archsmith.strategy.kit.options import number, whole
from archsmith.strategy.kit.pick_queue import PickQueue
from archsmith.strategy.kit.predictions import Predictions
from archsmith.strategy.kit.scales import VIEWS
from archsmith.strategy.kit.variation import CROSSOVER, Floats, Rows, best_first, evolve

MOST_DEVIATIONS = 10


class Linas(Strategy):
    """LINAS: light predictors, a whole NSGA-II on what they say, and measurements of its best picks only.

    A small first batch is measured. Then, over and over: fit one light predictor for every objective and every limited
    metric on encodings, run NSGA-II (or another strategy) on the predictions for long, and ask for ``picks`` of the
    non-dominated, feasible and new designs that it met, chosen greedily by what they would add to the measured
    hypervolume.

    Departures from the papers (Sarah et al. 2022; Cummings et al. 2022, arXiv 2205.10358):

    * a Gaussian process (exponential Hamming kernel) in place of ridge and support vector regression, with predictions
      better than the mean by ``optimism`` standard deviations, so that it also measures where it knows little;
    * targets are warped (normal scores, or logarithms), drawn anew for every fit, and picks are few, where the papers
      refit after a whole population;
    * the first designs have the same relative option everywhere (corners of many spaces), then come random ones;
    * predicted limits come first, learnt from the pessimistic end of each measured interval and moved by ``caution``
      standard deviations; a design that will probably fail counts as breaking one;
    * where no pick would improve the front, untried neighbours of the measured front are asked.

    Args:
        space: a space of choices.
        objectives: any number; time grows with it.
        limits: feasible designs come before all others.
        rng: the only source of randomness.
        initial: evaluations before the first fit.
        picks: measured between two fits; asking for more at once gets more.
        population: of the NSGA-II on predictions; another strategy is asked for as many at once.
        generations: of the NSGA-II on predictions; another strategy may ask ``population * generations`` times.
        optimism: standard deviations by which objectives are predicted better than their mean.
        caution: standard deviations by which limited metrics are predicted worse than theirs; more keeps more
            measurements feasible and stays farther from the bound, where the best designs usually are.
        predictor: a method of the role ``predictor``, or an instance, which may have learnt something before.
        inner: what searches on the predictions, a method of the role ``strategy`` with its default options. All but
            ``nsga2`` ask and tell one architecture at a time and take several times longer.
        encoding: what predictors read, a method of the role ``encoding`` or an instance.
        free: another encoding beside it, of values that cost nothing (``known_values``): they are scaled, and holes
            are filled and marked.

    Raises:
        InvalidOption: for an option outside its range, or an inner strategy that handles fewer objectives.
        UnknownName: for an unknown predictor, strategy or encoding.
    """

    paper = Paper(
        authors="Sarah, Anthony and Cummings, Daniel and Nittur Sridhar, Sharath and Sundaresan, Sairam and "
        "Szankin, Maciej and Webb, Tristan and Munoz, J. Pablo",
        title="A Hardware-Aware System for Accelerating Deep Neural Network Optimization",
        year=2022,
        arxiv="2202.12954",
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
        picks: int = 4,
        population: int = 60,
        generations: int = 20,
        optimism: float = 1.0,
        caution: float = 0.0,
        predictor: str | Predictor = "gaussian_process",
        inner: str = "nsga2",
        encoding: str | Encoding = "one_hot",
        free: Encoding | None = None,
    ) -> None:
        self._initial = whole("initial", initial, least=LEAST_FITTED)
        self._picks = whole("picks", picks, least=1)
        self._population = whole("population", population, least=4)
        self._generations = whole("generations", generations, least=1)
        self._optimism = number("optimism", optimism, most=MOST_DEVIATIONS)
        self._caution = number("caution", caution, most=MOST_DEVIATIONS)
        self._predictor = maker(predictor)
        self._history = RowHistory(space, objectives, limits)
        check_inner(inner, len(objectives))
        self._inner = inner
        self._encoding = encoding_of(space, encoding)
        self._free = free
        self._space = space
        self._rng = rng
        self._queue = PickQueue(self._history)

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: the first designs, then picks of the search on predictions."""
        proposals = even_first(self._history, n, self._initial, self._rng)
        if len(usable(self._history)) < LEAST_FITTED:
            return proposals
        return proposals + self._queue.propose(n - len(proposals), self._search)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones teach where failures are likely."""
        self._history.tell(evaluations)

    def _search(self, n: int) -> list[Rows]:
        """``n`` new rows worth measuring, or ``picks``; fewer only where the space is used up."""
        n = max(self._picks, n)
        view = VIEWS[int(self._rng.integers(len(VIEWS)))]
        predictions = Predictions.fitted(
            self._history,
            self._encoding,
            self._predictor,
            view=view,
            optimism=self._optimism,
            caution=self._caution,
            free=self._free,
        )
        rows, costs, violations = self._on_predictions(predictions)
        new = self._history.is_new(rows)
        rows, costs, violations = rows[new], costs[new], violations[new]
        picked = [rows[i] for i in spread(costs, violations, predictions.costs, predictions.violations, n)]
        return picked + self._near_front(predictions, n - len(picked), picked)

    def _on_predictions(self, predictions: Predictions) -> tuple[Rows, Floats, Floats]:
        """Rows that the inner search met, with predicted costs and violations."""
        best = best_first(predictions.costs, predictions.violations, self._population)
        if self._inner == "nsga2":
            return evolve(
                self._space,
                np.concatenate([predictions.rows[best], self._space.sample_rows(self._population, self._rng)]),
                predictions.predict,
                population=self._population,
                generations=self._generations,
                crossover=CROSSOVER,
                rng=self._rng,
            )
        rows = predictions.rows[best]
        return searched(
            self._inner,
            self._space,
            (rows, *predictions.predict(rows)),
            predictions.predict,
            evaluations=self._population * self._generations,
            batch=self._population,
            rng=self._rng,
        )

    def _near_front(self, predictions: Predictions, n: int, taken: list[Rows]) -> list[Rows]:
        """Up to ``n`` untried mutants of the measured front, then random new rows."""
        front = predictions.rows[best_first(predictions.costs, predictions.violations, max(1, n))]
        near = [row for row in front for row in self._space.neighbour_rows(row)]
        rows = np.stack(near) if near else front[:0]
        rows = rows[self._history.is_new(rows)]
        rows = rows[self._rng.permutation(len(rows))]
        rows = np.concatenate([rows, self._space.rows(self._history.fresh(n, self._rng))])
        avoid = {row.tobytes() for row in taken}
        found: dict[bytes, Rows] = {}
        for row in rows:
            if row.tobytes() not in avoid and len(found) < n:
                found.setdefault(row.tobytes(), row)
        return list(found.values())
