"""Performance predictors: fitted on (encoding, value) pairs, one method a file."""

from __future__ import annotations

from archsmith.predictor._data import mid_ranks, normal_scores
from archsmith.predictor._judging import CrossValidation, cross_validate, kendall_tau, spearman_rho
from archsmith.predictor._posterior import LEAST_STD, Bound, Posterior
from archsmith.predictor._threads import one_thread

ROLE = "predict a metric from an encoding"

__all__ = [
    "LEAST_STD",
    "ROLE",
    "Bound",
    "CrossValidation",
    "Posterior",
    "cross_validate",
    "kendall_tau",
    "mid_ranks",
    "normal_scores",
    "one_thread",
    "spearman_rho",
]
