"""Top-1 accuracy of the file that a device runs, where that is quantised."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

from archsmith.architecture import Proposal
from archsmith.candidates.quantised_files import QuantisedFiles
from archsmith.evaluator.accuracy import Accuracy, count_correct, wilson
from archsmith.evaluator.base import Evaluator
from archsmith.fingerprint import fingerprint_of
from archsmith.method import OURS
from archsmith.metric import KNOWN_METRICS, Metric
from archsmith.value import Value


@final
class FileAccuracy(Evaluator):
    """Share of a split that a quantised subnet's file classifies correctly in ONNX Runtime, in percent.

    Subnets without quantised layers are judged as :class:`~archsmith.evaluator.accuracy.Accuracy` judges them.

    Args:
        files: of subnets in their precisions.
        batches: an iterable of ``(inputs, labels)``, the same on every pass.
        metric: under which name the value is recorded.
        interval: whether to give the 95 % interval of a share (Wilson 1927).
    """

    paper = OURS
    depends_on = "architecture"

    def __init__(
        self,
        files: QuantisedFiles,
        batches: Iterable[Any],
        *,
        metric: Metric = KNOWN_METRICS["accuracy_top1"],
        interval: bool = False,
    ) -> None:
        self._files, self._batches, self._metric, self._interval = files, batches, metric, interval
        self._full = Accuracy(files.supernet, batches, metric=metric, interval=interval)

    @property
    def metrics(self) -> Sequence[Metric]:
        return (self._metric,)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of("file_accuracy", self._full.fingerprint, self._files.fingerprint)

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        own, policy = self._files.joint.split(proposal.architecture)
        if policy.full:
            return self._full.measure(Proposal(own), seed=seed)
        right, total = count_correct(self._files.network(proposal.architecture), self._batches)
        low, high = wilson(right, total) if self._interval else (math.nan, math.nan)
        return {self._metric.name: Value(100 * right / total, "measured", low, high)}
