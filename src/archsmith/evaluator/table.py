"""Values of a public benchmark, for the search loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from archsmith.architecture import Proposal
from archsmith.benchmark import Benchmark, open_benchmark
from archsmith.errors import EvaluationFailed
from archsmith.evaluator.base import Evaluator
from archsmith.method import OURS
from archsmith.metric import Metric, check_known
from archsmith.value import Value


@final
class Table(Evaluator):
    """Published values of a benchmark, looked up; of a surrogate benchmark, predicted.

    Args:
        benchmark: its name with options, such as ``"nasbench_graph:dataset=cora"``, or one that is open.
        metrics: metrics to look up, in this order; an architecture that lacks one of them fails.

    Raises:
        UnknownName: for a benchmark or a metric that does not exist.
        MissingTable: for a benchmark that has not been imported.
    """

    paper = OURS
    depends_on = "architecture"

    def __init__(self, benchmark: str | Benchmark, metrics: Sequence[str]) -> None:
        self.benchmark = open_benchmark(benchmark)
        check_known(metrics, self.benchmark.metrics)
        self._names = tuple(metrics)

    @property
    def metrics(self) -> Sequence[Metric]:
        return tuple(self.benchmark.metrics[name] for name in self._names)

    @property
    def fingerprint(self) -> str:
        return self.benchmark.fingerprint_of(self._names)

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        del seed  # a table says the same each time
        found = self.benchmark.evaluate(proposal, self._names)
        if not found.ok:
            raise EvaluationFailed(found.reason)
        return found.values
