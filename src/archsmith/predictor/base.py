"""The contract of a performance predictor."""

from __future__ import annotations

from abc import abstractmethod

from archsmith.method import Method
from archsmith.predictor._data import Array
from archsmith.predictor._posterior import Posterior


class Predictor(Method):
    """Fitted on pairs of encoding and value; cheap enough to ask about 10^5 candidates."""

    @abstractmethod
    def fit(self, x: Array, y: Array) -> None:
        """Learn from encodings ``x (n, d)`` and finite values ``y (n,)``; forgets what it learnt before."""

    @abstractmethod
    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value of each encoding, ``(n,)`` each."""

    def posterior(self, x: Array) -> Posterior:
        """The predictions of ``x (n, d)`` as one :class:`~archsmith.predictor.Posterior` of one value."""
        mean, std = self.predict(x)
        return Posterior(mean[:, None], std[:, None])


class JointPredictor(Predictor):
    """A predictor that knows how its predictions hang together, so that they can be sampled jointly."""

    @abstractmethod
    def covariance(self, x: Array) -> Array:
        """That of the values of encodings ``x (n, d)``, ``(n, n)``; its diagonal are the variances predicted."""

    def posterior(self, x: Array) -> Posterior:
        """The predictions of ``x (n, d)``; their covariance is computed when it is asked for."""
        mean, std = self.predict(x)
        return Posterior(mean[:, None], std[:, None], lambda: self.covariance(x)[None])
