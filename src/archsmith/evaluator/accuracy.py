"""Top-1 accuracy of a subnet with the weights it inherits from the supernet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

import torch
from torch import nn

from archsmith.architecture import Architecture, Proposal
from archsmith.candidates.fingerprints import fingerprint_of_batches, fingerprint_of_supernet
from archsmith.candidates.quantised_files import QuantisedFiles
from archsmith.errors import EvaluationFailed
from archsmith.evaluator.base import Evaluator
from archsmith.fingerprint import fingerprint_of
from archsmith.method import OURS
from archsmith.metric import KNOWN_METRICS, Metric
from archsmith.supernet import Supernet, call, logits_of
from archsmith.value import Value


@final
class Accuracy(Evaluator):
    """Share of a split that the subnet classifies correctly, in percent.

    The whole split is evaluated, so the value is exact for it; an interval covers the accuracy on new inputs.

    Args:
        supernet: whose weights the subnets share; batch-norm statistics come from its calibration batches.
        batches: an iterable of ``(inputs, labels)``, the same on every pass.
        metric: name under which the value is recorded.
        interval: whether to give the 95 % interval of a share (Wilson 1927).
        files: of subnets in their precisions; those with quantised layers are evaluated as files in ONNX Runtime.
    """

    paper = OURS
    depends_on = "function"

    def __init__(
        self,
        supernet: Supernet,
        batches: Iterable[Any],
        *,
        metric: Metric = KNOWN_METRICS["accuracy_top1"],
        interval: bool = False,
        files: QuantisedFiles | None = None,
    ) -> None:
        self._supernet, self._batches, self._metric, self._interval = supernet, batches, metric, interval
        self._files = files
        self._data = fingerprint_of_batches(batches)

    @classmethod
    def on_test(cls, supernet: Supernet, batches: Iterable[Any]) -> Accuracy:
        """The accuracy on the test split, with an interval, since it stands for new inputs."""
        return cls(supernet, batches, metric=KNOWN_METRICS["test_accuracy_top1"], interval=True)

    @property
    def metrics(self) -> Sequence[Metric]:
        return (self._metric,)

    @property
    def fingerprint(self) -> str:
        full = fingerprint_of("accuracy", self._metric.name, self._data, fingerprint_of_supernet(self._supernet))
        return full if self._files is None else fingerprint_of("file_accuracy", full, self._files.fingerprint)

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        del seed  # nothing here is random
        right, total = self._counted(proposal.architecture)
        low, high = wilson(right, total) if self._interval else (math.nan, math.nan)
        return {self._metric.name: Value(100 * right / total, "measured", low, high)}

    def _counted(self, arch: Architecture) -> tuple[int, int]:
        if self._files is not None and not self._files.joint.split(arch)[1].full:
            return count_correct(self._files.network(arch), self._batches)
        with evaluating(self._supernet), torch.no_grad(), self._supernet.active(arch):
            return count_correct(self._supernet, self._batches)


def count_correct(network: Any, batches: Iterable[Any]) -> tuple[int, int]:
    """Correctly classified inputs and all inputs.

    Args:
        network: anything callable on a batch's inputs that returns logits ``(b, classes)``: as a tensor, as its field
            or key ``logits``, or as the first tensor of a tuple.
        batches: pairs of inputs (a tensor, a tuple or a dict of keywords) and labels ``(b,)``.

    Raises:
        EvaluationFailed: for logits that are not finite, or no inputs at all.
    """
    right = total = 0
    for inputs, labels in batches:
        outputs = call(network, inputs)
        logits = logits_of(outputs)
        if logits is None or logits.ndim != 2:
            found = f"a {type(outputs).__name__}" if logits is None else f"logits of shape {tuple(logits.shape)}"
            raise EvaluationFailed(
                f"accuracy needs logits of shape (batch, classes), the network returns {found}; return them as a "
                "tensor, as `logits` or as the first of a tuple, or give a metric of your own instead"
            )
        if not bool(torch.isfinite(logits).all()):
            raise EvaluationFailed("the network's outputs are not finite")
        right += int((logits.argmax(1).cpu() == labels.cpu()).sum())
        total += len(labels)
    if total == 0:
        raise EvaluationFailed("the split is empty")
    return right, total


def wilson(right: int, total: int) -> tuple[float, float]:
    """95 % interval of a share, in percent (Wilson 1927): valid for small samples and shares near 0 or 1."""
    z, p = 1.959964, right / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return 100 * min(p, centre - half), 100 * max(p, centre + half)


class evaluating:  # noqa: N801 - reads as a statement: ``with evaluating(model):``
    """Put a module into evaluation mode for the length of a block; every submodule's mode is restored."""

    def __init__(self, module: nn.Module) -> None:
        self._modes = [(m, m.training) for m in module.modules()]
        self._module = module

    def __enter__(self) -> nn.Module:
        return self._module.eval()

    def __exit__(self, *_: object) -> None:
        for module, mode in self._modes:
            module.training = mode
