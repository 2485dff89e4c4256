"""Top-1 accuracy of a subnet with the weights it inherits from the supernet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

import torch
from torch import nn

from archsmith.architecture import Proposal
from archsmith.candidates.fingerprints import fingerprint_of_batches, fingerprint_of_supernet
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

    The split is judged whole, so that the value is exact for it; an interval says what it tells of new inputs.

    Args:
        supernet: in whose weights the subnets live; batch-norm statistics follow its calibration batches.
        batches: an iterable of ``(inputs, labels)``, the same on every pass.
        metric: under which name the value is recorded.
        interval: whether to give the 95 % interval of a share (Wilson 1927).
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
    ) -> None:
        self._supernet, self._batches, self._metric, self._interval = supernet, batches, metric, interval
        self._data = fingerprint_of_batches(batches)

    @classmethod
    def on_test(cls, supernet: Supernet, batches: Iterable[Any]) -> Accuracy:
        """Of the test split: a claim about new inputs, hence with an interval."""
        return cls(supernet, batches, metric=KNOWN_METRICS["test_accuracy_top1"], interval=True)

    @property
    def metrics(self) -> Sequence[Metric]:
        return (self._metric,)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of("accuracy", self._metric.name, self._data, fingerprint_of_supernet(self._supernet))

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        del seed  # nothing here is random
        with evaluating(self._supernet), torch.no_grad(), self._supernet.active(proposal.architecture):
            right, total = count_correct(self._supernet, self._batches)
        low, high = wilson(right, total) if self._interval else (math.nan, math.nan)
        return {self._metric.name: Value(100 * right / total, "measured", low, high)}


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
    """95 % interval of a share, in percent (Wilson 1927): honest for small samples and shares near 0 or 1."""
    z, p = 1.959964, right / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return 100 * min(p, centre - half), 100 * max(p, centre + half)


class evaluating:  # noqa: N801 - reads as a statement: ``with evaluating(model):``
    """A module in evaluation mode for the length of a block; every submodule's mode comes back."""

    def __init__(self, module: nn.Module) -> None:
        self._modes = [(m, m.training) for m in module.modules()]
        self._module = module

    def __enter__(self) -> nn.Module:
        return self._module.eval()

    def __exit__(self, *_: object) -> None:
        for module, mode in self._modes:
            module.training = mode
