"""A metric of the user's own: a name, a unit, a direction and a function of the network, or of network and data."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, final

import torch
from torch import nn

from archsmith.architecture import Architecture, Proposal
from archsmith.candidates.fingerprints import fingerprint_of_batches, fingerprint_of_supernet
from archsmith.errors import EvaluationFailed, InvalidOption
from archsmith.evaluator.base import Evaluator
from archsmith.fingerprint import fingerprint_of
from archsmith.method import OURS
from archsmith.metric import NAME, Goal, Metric
from archsmith.supernet.supernet import Supernet
from archsmith.value import Value


class GivesNetworks(Protocol):
    """Builds networks that are more than subnets of a supernet."""

    @property
    def fingerprint(self) -> str:
        """Equal means equal networks of equal architectures."""

    def network(self, arch: Architecture) -> nn.Module:
        """A module that computes what ``arch`` does, in evaluation mode."""


@final
class UserMetric(Evaluator):
    """The value of ``function(network) -> float``, called with the extracted subnet in evaluation mode.

    Where resolution is a choice, the subnet that the function gets resizes its images itself.

    Args:
        name: of the metric, with its unit where it has one.
        function: called without gradients; a number that is not finite fails the evaluation.
        on_data: call it as ``function(network, batches)`` with the validation split, an iterable of
            ``(inputs, labels)``.
        unit: for tables and axes.
        goal: the direction that is usually wanted.
        version: change it when the function's meaning changes, so that old values are not taken for new ones.
    """

    paper = OURS
    depends_on = "function"

    def __init__(
        self,
        name: str,
        function: Callable[..., float],
        *,
        on_data: bool = False,
        unit: str = "1",
        goal: Goal = "max",
        version: str = "1",
    ) -> None:
        if not isinstance(name, str) or not re.fullmatch(NAME, name):
            raise InvalidOption(f"a metric's name has letters, digits, '_', '-' and '.' only, got {name!r}")
        if not callable(function):
            raise InvalidOption(f"metric {name!r} needs a function of the network, got {function!r}")
        if goal not in ("max", "min"):
            raise InvalidOption(f"goal={goal!r} of metric {name!r} must be 'max' or 'min'")
        self._metric, self._function, self._version = Metric(name, unit, goal), function, version
        self._on_data = on_data
        self._supernet: Supernet | None = None
        self._files: GivesNetworks | None = None
        self._batches: Iterable[Any] | None = None
        self._data = ""

    def bind(
        self, supernet: Supernet, batches: Iterable[Any] | None = None, *, files: GivesNetworks | None = None
    ) -> UserMetric:
        """The same metric, measured on subnets of ``supernet`` and, if it is ``on_data``, with these batches.

        Args:
            supernet: from which subnets are extracted.
            batches: of the validation split.
            files: where layers are quantised: the function then gets a module that runs the network's file.

        Raises:
            InvalidOption: when it needs batches and there are none.
        """
        m = self._metric
        bound = UserMetric(
            m.name, self._function, on_data=self._on_data, unit=m.unit, goal=m.goal, version=self._version
        )
        bound._supernet, bound._files = supernet, files
        if self._on_data:
            if batches is None:
                raise InvalidOption(f"metric {m.name!r} is a function of the data, which are not at hand")
            bound._batches, bound._data = batches, fingerprint_of_batches(batches)
        return bound

    @property
    def metrics(self) -> Sequence[Metric]:
        return (self._metric,)

    @property
    def fingerprint(self) -> str:
        named = self._function if hasattr(self._function, "__qualname__") else type(self._function)
        function = f"{named.__module__}.{named.__qualname__}"
        weights = fingerprint_of_supernet(self._supernet) if self._supernet is not None else ""
        data = (self._data,) if self._on_data else ()
        files = () if self._files is None else (self._files.fingerprint,)
        return fingerprint_of("user", self._metric.name, function, self._version, weights, *data, *files)

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        del seed  # the function may use randomness of its own
        if self._supernet is None:
            raise InvalidOption(f"metric {self._metric.name!r} is not bound to a supernet; call bind(supernet) first")
        networks = self._files or self._supernet
        network = networks.network(proposal.architecture)
        arguments = (network, self._batches) if self._on_data else (network,)
        with torch.no_grad():
            value = float(self._function(*arguments))
        if not math.isfinite(value):
            raise EvaluationFailed(f"{self._metric.name} is {value}, which is no finite number")
        return {self._metric.name: Value(value, "measured")}
