"""BoTorch's noisy expected hypervolume improvement, as a peer to compare with."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from archsmith.strategy.kit.hypervolume_improvement import REFERENCE
from archsmith.strategy.kit.observations import limit_values, usable
from archsmith.strategy.kit.options import whole
from archsmith.strategy.kit.scales import warped
from archsmith.strategy.kit.survivors import boxed
from archsmith.strategy.kit.variation import Floats, Rows, constrained_ranks

CANDIDATES_AT_ONCE = 64
"""Candidates whose acquisition is computed at once."""


class Qlognehvi(Strategy):
    """BoTorch's qLogNEHVI: the candidate with the largest expected hypervolume improvement over noisy designs.

    One Gaussian process a metric with a categorical (exponential Hamming) kernel. Candidates are the untried
    neighbours of the front and random designs; the logarithm of the acquisition ranks those far from it, too. Proposals
    of one batch are chosen one after the other, with everything open as pending. Slow: tens of CPU seconds for a
    hundred evaluations.

    Departures from Daulton et al. 2021 and Ament et al. 2023:

    * The acquisition is maximised over a pool, as choices have no gradient.
    * Costs are scaled to the box of what was told, on a logarithm where they span more than a factor of 10, and the
      reference point is that box's worst corner and a tenth more.
    * With one objective it is qLogNEI, the noisy expected improvement.
    * Limits are outcome constraints on models of their own. Failed evaluations are left out.
    * A model that cannot be fitted keeps the hyper-parameters that it begins with.

    Args:
        space: a space of choices.
        objectives: any number; time grows fast with it.
        limits: as outcome constraints.
        rng: the only source of randomness.
        initial: random designs before the first models.
        pool: random candidates beside the front's neighbours.
        samples: of the posterior in each expectation.

    Raises:
        InvalidOption: for an option outside its range.
        MissingExtra: without BoTorch (extra ``bo``).
    """

    paper = Paper(
        authors="Ament, Sebastian and Daulton, Samuel and Eriksson, David and Balandat, Maximilian and Bakshy, Eytan",
        title="Unexpected Improvements to Expected Improvement for Bayesian Optimization",
        year=2023,
        venue="NeurIPS",
        arxiv="2310.20708",
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
        pool: int = 200,
        samples: int = 64,
    ) -> None:
        self._initial = whole("initial", initial, least=3)
        self._pool = whole("pool", pool, least=1, most=10**5)
        self._samples = whole("samples", samples, least=1, most=2**14)
        self._history = RowHistory(space, objectives, limits)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it imports warns of itself
            self._botorch = require("botorch", extra="bo", purpose="the strategy qlognehvi")
        self._models: _Models | None = None
        self._space = space
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` new proposals: random ones first, then the best of the pool one by one."""
        if n <= 0:
            return []
        history = self._history
        if len(usable(history)) < self._initial:
            return history.propose(history.fresh(n, self._rng))
        proposals: list[Proposal] = []
        while len(proposals) < n:
            rows = self._candidates()
            if not len(rows):
                break
            best = self._best(rows)
            proposals += history.propose(self._space.architectures(rows[best : best + 1]))
        return proposals

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations; failed ones only prevent a repetition."""
        if self._history.tell(evaluations):
            self._models = None

    def _candidates(self) -> Rows:
        """New rows: the front's neighbours and random ones."""
        history = self._history
        known = usable(history)
        front = known[constrained_ranks(history.costs[known], history.violations[known]) == 0]
        near = [self._space.neighbour_rows(row) for row in history.rows[front]]
        rows = np.concatenate([*near, self._space.sample_rows(self._pool, self._rng)])
        rows = rows[history.is_new(rows)]
        return rows if len(rows) else history.fresh_rows(self._pool, self._rng)

    def _best(self, rows: Rows) -> int:
        """Which of ``rows`` has the largest acquisition."""
        import torch

        with quiet_botorch(self._botorch, int(self._rng.integers(2**31))):
            if self._models is None:
                self._models = _Models(self._history)
            values = self._models.acquisition(
                torch.tensor(rows, dtype=torch.float64),
                torch.tensor(self._space.rows(list(self._history.open.values())), dtype=torch.float64),
                self._samples,
            )
        return int(np.argmax(np.where(np.isfinite(values), values, -np.inf)))


@contextmanager
def quiet_botorch(botorch: Any, seed: int) -> Iterator[None]:
    """BoTorch without its warnings, drawing from ``seed`` and not from torch's global generator."""
    import torch

    with (
        warnings.catch_warnings(),
        torch.random.fork_rng(devices=[]),
        botorch.settings.validate_input_scaling(state=False),
    ):
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        yield


class _Models:
    """Gaussian processes of all objectives and of all limited metrics that were measured."""

    def __init__(self, history: RowHistory) -> None:
        import torch

        known = usable(history)
        self._objectives = len(history.objectives)
        self._x = torch.tensor(history.rows[known], dtype=torch.float64)
        costs = boxed(np.stack([warped(c, "min", "shape") for c in history.costs[known].T], axis=1))
        models = [_fitted(self._x, torch.tensor(-c)) for c in costs.T]
        self._constraints = []
        for limit in history.limits:
            at, value = limit_values(history, limit, known)
            if not len(at):
                continue
            sign = 1.0 if limit.sense == "<=" else -1.0
            excess = sign * (value - limit.bound) / (float(np.std(value)) or 1.0)
            self._constraints.append(_column(len(models)))
            models.append(_fitted(self._x[at], torch.tensor(excess)))
        self._model = _part("models.model_list_gp_regression").ModelListGP(*models)

    def acquisition(self, rows: Any, pending: Any, samples: int) -> Floats:
        """Of each of ``rows (n, d)``, with ``pending (k, d)`` taken as measured."""
        import torch

        seed = int(torch.randint(2**31, ()))
        common = {
            "X_baseline": self._x,
            "sampler": _part("sampling.normal").SobolQMCNormalSampler(torch.Size([samples]), seed=seed),
            "constraints": self._constraints or None,
            "X_pending": pending if len(pending) else None,
            "prune_baseline": True,
        }
        acquisition: Any
        if self._objectives == 1:
            first = _part("acquisition.objective").GenericMCObjective(_first)
            acquisition = _part("acquisition.logei").qLogNoisyExpectedImprovement(
                self._model, objective=first, **common
            )
        else:
            objectives = _part("acquisition.multi_objective.objective")
            several = objectives.IdentityMCMultiOutputObjective(outcomes=list(range(self._objectives)))
            worst = [-REFERENCE] * self._objectives
            logei = _part("acquisition.multi_objective.logei")
            acquisition = logei.qLogNoisyExpectedHypervolumeImprovement(
                self._model, ref_point=worst, objective=several, **common
            )
        with torch.no_grad():
            parts = [acquisition(part[:, None]) for part in rows.split(CANDIDATES_AT_ONCE)]
        return np.asarray(torch.cat(parts).numpy())


def _part(module: str) -> Any:
    return require(f"botorch.{module}", extra="bo", purpose="the strategy qlognehvi")


def _first(y: Any, X: Any = None) -> Any:  # noqa: ARG001 - BoTorch passes both
    """The samples of the only objective."""
    return y[..., 0]


def _column(j: int) -> Any:
    """The samples of outcome ``j``, which are negative where its limit holds."""
    return lambda y: y[..., j]


def _fitted(x: Any, y: Any) -> Any:
    """A Gaussian process on option indices ``x (n, d)`` by its largest marginal likelihood, as far as that is found."""
    gpytorch = require("gpytorch", extra="bo", purpose="the strategy qlognehvi")
    categorical = _part("models.kernels").CategoricalKernel(ard_num_dims=x.shape[1])
    model = _part("models.gp_regression").SingleTaskGP(
        x,
        y[:, None],
        covar_module=gpytorch.kernels.ScaleKernel(categorical),
        outcome_transform=_part("models.transforms").Standardize(m=1),
    )
    start = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        _part("fit").fit_gpytorch_mll(gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model))
    except _part("exceptions").ModelFittingError:  # all its attempts failed; a search goes on with BoTorch's priors
        model.load_state_dict(start)
        model.eval()
    return model
