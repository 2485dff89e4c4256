"""The sandwich rule with in-place distillation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from archsmith.errors import InvalidOption
from archsmith.method import Paper
from archsmith.structure.calls import logits_of
from archsmith.supernet.supernet import Supernet
from archsmith.training.base import Loss, RunSubnet, TrainingMethod, detached, is_cross_entropy

Distill = Callable[[Any, Any], Tensor]
"""``distill(outputs, teacher) -> scalar``: how far a subnet's outputs are from the largest one's, which are fixed."""


@final
class Sandwich(TrainingMethod):
    """Sandwich rule: each batch trains the largest, the smallest and random subnets, which imitate the largest.

    The largest learns from the labels; the others from its outputs, which are computed anyway. Gradients of all are
    summed into one step.

    Departs from the paper: with a loss other than cross-entropy there are no soft labels, so all subnets learn from the
    targets unless ``distill`` is given.

    Args:
        random: subnets drawn per batch beside the largest and the smallest (the paper's n - 2).
        temperature: softens the class probabilities of the largest and the other subnets; 1 in the paper.
        distill: loss between a subnet's outputs and the largest's; by default, for logits of classes, cross-entropy
            with its softmax.
    """

    paper = Paper(
        authors="Yu, Jiahui and Huang, Thomas",
        title="Universally Slimmable Networks and Improved Training Techniques",
        year=2019,
        venue="ICCV",
        arxiv="1903.05134",
    )

    def __init__(self, *, random: int = 2, temperature: float = 1.0, distill: Distill | None = None) -> None:
        if random < 0:
            raise InvalidOption(f"random must be 0 or more subnets a batch, got {random}")
        if temperature <= 0:
            raise InvalidOption(f"temperature must be above 0, got {temperature}")
        self.random, self.temperature, self.distill = random, temperature, distill

    def backward(
        self,
        supernet: Supernet,
        run: RunSubnet,
        targets: Any,
        *,
        loss: Loss,
        rng: np.random.Generator,
        scale: Callable[[Tensor], Tensor],
    ) -> dict[str, float]:
        """The largest first, since the others learn from it."""
        outputs = run(supernet.largest)
        of_largest = loss(outputs, targets)
        scale(of_largest).backward()  # type: ignore[no-untyped-call]
        teacher = detached(outputs)
        distill = self.distill or (self._soft_cross_entropy if is_cross_entropy(loss) else None)
        pupils = [("smallest", supernet.smallest)] + [("random", supernet.random(rng)) for _ in range(self.random)]
        losses: dict[str, list[float]] = {}
        for part, architecture in pupils:
            outputs = run(architecture)
            value = distill(outputs, teacher) if distill else loss(outputs, targets)
            scale(value).backward()  # type: ignore[no-untyped-call]
            losses.setdefault(part, []).append(value.item())
        return {"largest": of_largest.item(), **{part: sum(v) / len(v) for part, v in losses.items()}}

    def _soft_cross_entropy(self, outputs: Any, teacher: Any) -> Tensor:
        """Cross-entropy ``(b, k, ...)`` with the teacher's classes; its gradient is that of the KL divergence."""
        logits, fixed = logits_of(outputs), logits_of(teacher)
        assert logits is not None  # the loss of the largest network has checked that there are logits
        assert fixed is not None
        soft = F.softmax(fixed / self.temperature, dim=1)
        return F.cross_entropy(logits / self.temperature, soft) * self.temperature**2
