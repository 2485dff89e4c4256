"""The contract of an evaluator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from archsmith.architecture import Proposal
from archsmith.method import Method
from archsmith.metric import Metric
from archsmith.value import Value


class Evaluator(Method):
    """Turns a proposal into the values of one or more metrics.

    Attributes:
        depends_on: whether equal *functions* have equal values (accuracy), or only equal
            architectures *as written* do (latency, parameters).
    """

    depends_on: ClassVar[Literal["function", "architecture"]]

    @property
    @abstractmethod
    def metrics(self) -> Sequence[Metric]:
        """The metrics of :meth:`measure`, in a fixed order."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of options, data, weights and device: equal means comparable values."""

    @abstractmethod
    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        """The value of every metric.

        Raises:
            EvaluationFailed: with the reason, when there is none; any other exception is recorded likewise.
        """
