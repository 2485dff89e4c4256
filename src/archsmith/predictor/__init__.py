"""Performance predictors: fitted on (encoding, value) pairs, one method a file."""

from __future__ import annotations

from archsmith.predictor._data import normal_scores
from archsmith.predictor._judging import CrossValidation, cross_validate, kendall_tau, spearman_rho

ROLE = "predict a metric from an encoding"

__all__ = ["ROLE", "CrossValidation", "cross_validate", "kendall_tau", "normal_scores", "spearman_rho"]
