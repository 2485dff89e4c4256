"""The contract of a performance predictor."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from archsmith.method import Method

Array = NDArray[np.float64]


class Predictor(Method):
    """Fitted on pairs of encoding and value; cheap enough to ask about 10^5 candidates."""

    @abstractmethod
    def fit(self, x: Array, y: Array) -> None:
        """Learn from encodings ``x (n, d)`` and finite values ``y (n,)``; forgets what it learnt before."""

    @abstractmethod
    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each."""
