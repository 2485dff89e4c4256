"""The evidence of a Gaussian process at its best prior variance."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from archsmith.predictor._data import Array


def solved(kernel: Array, noise: float, target: Array) -> tuple[Array, float, float]:
    """Cholesky factor of kernel and noise, the variance that fits ``target (n,)`` best, and the evidence."""
    n = len(target)
    factor = cholesky(kernel + noise * np.eye(n), lower=True, check_finite=False)
    half = solve_triangular(factor, target, lower=True, check_finite=False)
    variance = max(float(half @ half) / n, 1e-12)
    return factor, variance, float(-0.5 * n * np.log(variance) - np.log(np.diag(factor)).sum())
