"""The record of one evaluated proposal, with everything needed to reproduce it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Architecture, Proposal
from archsmith.errors import ABORTS_SEARCH, EvaluationFailed, InvalidOption
from archsmith.forms import reading
from archsmith.metric import Limit, Objective
from archsmith.value import Source, Value

__all__ = ["Evaluation", "Source", "Value", "costs", "failed", "violations"]


class _Number(TypedDict):
    """A value as JSON."""

    value: float
    source: str
    low: NotRequired[float]
    high: NotRequired[float]


class _Record(TypedDict):
    """An evaluation as JSON; its proposal is checked where it is read."""

    proposal: dict[str, Any]
    values: dict[str, _Number]
    evaluator: str
    seed: int
    status: Literal["ok", "failed"]
    reason: str
    environment: dict[str, Any]
    cost: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The record of one proposal; feasibility is derived from limits and never part of it.

    Args:
        proposal: what was asked.
        values: metric name -> value with source; empty for a failed evaluation.
        evaluator: fingerprint of options, data, weights and device.
        seed: of everything random in it.
        status: ``"ok"`` or ``"failed"``.
        reason: why it failed.
        environment: machine and versions, plain data.
        cost: time spent, such as ``{"wall_s": 0.8, "cpu_s": 0.7}``.
    """

    proposal: Proposal
    values: Mapping[str, Value]
    evaluator: str
    seed: int = 0
    status: Literal["ok", "failed"] = "ok"
    reason: str = ""
    environment: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    cost: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.status == "failed" and not self.reason:
            raise InvalidOption("a failed evaluation needs a reason")
        if self.status == "ok" and not self.values:
            raise InvalidOption("an evaluation without values is a failed one; give status='failed' and a reason")

    @property
    def architecture(self) -> Architecture:
        """The architecture that was asked for."""
        return self.proposal.architecture

    @property
    def ok(self) -> bool:
        """Whether it has values."""
        return self.status == "ok"

    @property
    def identity(self) -> tuple[str, str, str, str, int]:
        """Space, key, evaluator, fidelity, seed: what makes two evaluations the same one."""
        a = self.architecture
        return (a.space, a.key, self.evaluator, self.proposal.fidelity_key, self.seed)

    def __getitem__(self, metric: str) -> float:
        return self.values[metric].value

    def feasible(self, limits: Sequence[Limit]) -> bool:
        """Whether it is ok and meets all limits, with the pessimistic end of each interval."""
        return self.ok and all(limit.violation(self) == 0 for limit in limits)

    def to_json(self) -> dict[str, Any]:
        """Plain data; :meth:`from_json` reads it back."""
        return {
            "proposal": self.proposal.to_json(),
            "values": {name: value.to_json() for name, value in self.values.items()},
            "evaluator": self.evaluator,
            "seed": self.seed,
            "status": self.status,
            "reason": self.reason,
            "environment": dict(self.environment),
            "cost": dict(self.cost),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evaluation:
        """The inverse of :meth:`to_json`.

        Raises:
            DamagedFile: when ``data`` has another form.
        """
        with reading("an evaluation", data, _Record):
            rest = {k: data[k] for k in ("evaluator", "seed", "status", "reason", "environment", "cost")}
            values = {name: Value(**value) for name, value in data["values"].items()}
            return cls(proposal=Proposal.from_json(data["proposal"]), values=values, **rest)


def failed(
    proposal: Proposal,
    error: Exception,
    *,
    evaluator: str,
    seed: int = 0,
    environment: Mapping[str, Any] = MappingProxyType({}),
    cost: Mapping[str, float] = MappingProxyType({}),
) -> Evaluation:
    """Turn an exception into a failed evaluation; every failed evaluation is made here.

    Args:
        proposal: what was asked.
        error: what was raised while it was evaluated.
        evaluator: its fingerprint.
        seed: of the evaluation.
        environment: machine and versions.
        cost: time spent until then, as in :class:`Evaluation`.

    Raises:
        ArchsmithError: ``error`` itself, where it says nothing about the architecture (``ABORTS_SEARCH``).
    """
    if isinstance(error, ABORTS_SEARCH):
        raise error
    if isinstance(error, MemoryError):
        reason = f"out of memory ({error})" if str(error) else "out of memory"
    elif isinstance(error, EvaluationFailed) and str(error):
        reason = str(error)
    else:
        reason = f"{type(error).__name__}: {error}"
    return Evaluation(
        proposal=proposal,
        values={},
        evaluator=evaluator,
        seed=seed,
        status="failed",
        reason=reason,
        environment=environment,
        cost=cost,
    )


def costs(evaluations: Sequence[Evaluation], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Objective values turned so that smaller is better, ``(n, m)``; rows of failed evaluations are ``inf``."""
    rows = [[o.cost(e[o.metric]) if e.ok else math.inf for o in objectives] for e in evaluations]
    return np.array(rows, dtype=float).reshape(len(evaluations), len(objectives))


def violations(evaluations: Sequence[Evaluation], limits: Sequence[Limit]) -> NDArray[np.float64]:
    """Sum of relative limit violations, ``(n,)``: 0 for feasible evaluations, ``inf`` for failed ones."""
    return np.array([sum(x.violation(e) for x in limits) if e.ok else math.inf for e in evaluations], dtype=float)
