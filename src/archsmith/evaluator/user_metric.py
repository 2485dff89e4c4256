"""A metric of the user's own: a name, a unit, a direction and a function of the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import nn

from archsmith.architecture import Proposal
from archsmith.errors import EvaluationFailed, InvalidOption
from archsmith.evaluation import Value
from archsmith.evaluator._fingerprint import fingerprint_of, fingerprint_of_supernet
from archsmith.evaluator.base import Evaluator
from archsmith.method import OURS
from archsmith.metric import Goal, Metric
from archsmith.supernet.supernet import Supernet


@final
class UserMetric(Evaluator):
    """Whatever ``function(network) -> float`` finds, called with the extracted subnet in evaluation mode.

    Args:
        name: of the metric, with its unit where it has one.
        function: called without gradients; a number that is not finite fails the evaluation.
        unit: for tables and axes.
        goal: the direction that is usually wanted.
        version: change it when the function's meaning changes, so that old values are not taken for new ones.
    """

    paper = OURS
    depends_on = "function"

    def __init__(
        self,
        name: str,
        function: Callable[[Any], float],
        *,
        unit: str = "1",
        goal: Goal = "max",
        version: str = "1",
    ) -> None:
        if goal not in ("max", "min"):
            raise InvalidOption(f"goal={goal!r} of metric {name!r} must be 'max' or 'min'")
        self._metric, self._function, self._version = Metric(name, unit, goal), function, version
        self._supernet: Supernet | None = None

    def bind(self, supernet: Supernet) -> UserMetric:
        """The same metric, measured on subnets of ``supernet``."""
        m = self._metric
        bound = UserMetric(m.name, self._function, unit=m.unit, goal=m.goal, version=self._version)
        bound._supernet = supernet
        return bound

    @property
    def metrics(self) -> Sequence[Metric]:
        return (self._metric,)

    @property
    def fingerprint(self) -> str:
        function = f"{self._function.__module__}.{self._function.__qualname__}"
        weights = fingerprint_of_supernet(self._supernet) if self._supernet is not None else ""
        return fingerprint_of("user", self._metric.name, function, self._version, weights)

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        del seed  # the function has its own say in randomness
        if self._supernet is None:
            raise InvalidOption(f"metric {self._metric.name!r} is not bound to a supernet; call bind(supernet) first")
        network: nn.Module = self._supernet.extract(proposal.architecture)
        with torch.no_grad():
            value = float(self._function(network))
        if not math.isfinite(value):
            raise EvaluationFailed(f"{self._metric.name} is {value}, which is no finite number")
        return {self._metric.name: Value(value, "measured")}
