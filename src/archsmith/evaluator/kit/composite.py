"""Several evaluators as one evaluation of one proposal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from archsmith.architecture import Proposal
from archsmith.errors import EvaluationFailed, InvalidOption
from archsmith.evaluation import Evaluation, failed
from archsmith.evaluator.base import Evaluator
from archsmith.fingerprint import fingerprint_of
from archsmith.metric import Metric
from archsmith.value import Value


class Composite:
    """Runs evaluators one after another and records their values, or why one failed.

    Args:
        evaluators: in the order they run; the cheap and likely failing ones first save time.
        seed: recorded with every evaluation.
        environment: machine and versions, recorded with every evaluation.
    """

    def __init__(
        self, evaluators: Sequence[Evaluator], *, seed: int = 0, environment: Mapping[str, Any] | None = None
    ) -> None:
        self.evaluators, self.seed, self.environment = tuple(evaluators), seed, dict(environment or {})
        names = [m.name for m in self.metrics]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise InvalidOption(f"two evaluators give {', '.join(twice)}; name each metric once")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Of all evaluators, in order."""
        return tuple(m for e in self.evaluators for m in e.metrics)

    @cached_property
    def fingerprint(self) -> str:
        """Of all evaluators, as they are when it is first asked for."""
        return fingerprint_of(*(e.fingerprint for e in self.evaluators))

    def __call__(self, proposal: Proposal) -> Evaluation:
        """Evaluate ``proposal``; whatever goes wrong becomes ``status="failed"`` with the reason."""
        wall, cpu = time.perf_counter(), time.process_time()
        values: dict[str, Value] = {}
        cost: dict[str, float] = {}
        failure: Exception | None = None
        try:
            for evaluator in self.evaluators:
                started = time.perf_counter()
                values |= self._measured(evaluator, proposal)
                cost[f"{'+'.join(m.name for m in evaluator.metrics)}_s"] = time.perf_counter() - started
        except Exception as error:  # noqa: BLE001 - recorded, never swallowed
            failure = error
        cost |= {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        record: dict[str, Any] = {
            "evaluator": self.fingerprint,
            "seed": self.seed,
            "environment": self.environment,
            "cost": cost,
        }
        return (
            failed(proposal, failure, **record) if failure else Evaluation(proposal=proposal, values=values, **record)
        )

    def _measured(self, evaluator: Evaluator, proposal: Proposal) -> dict[str, Value]:
        found = evaluator.measure(proposal, seed=self.seed)
        if missing := [m.name for m in evaluator.metrics if m.name not in found]:
            raise EvaluationFailed(f"{type(evaluator).__name__} gave no {', '.join(missing)}")
        return {m.name: found[m.name] for m in evaluator.metrics}
