"""Ordinary training of one network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np
from torch import Tensor

from archsmith.architecture import Architecture
from archsmith.method import OURS
from archsmith.supernet.supernet import Supernet
from archsmith.training.base import Loss, RunSubnet, TrainingMethod


@final
class Plain(TrainingMethod):
    """Ordinary training of one subnet, the largest unless another is given.

    Args:
        architecture: the subnet; the largest where ``None``.
    """

    paper = OURS

    def __init__(self, *, architecture: Architecture | None = None) -> None:
        self.architecture = architecture

    def backward(
        self,
        supernet: Supernet,
        run: RunSubnet,
        targets: Any,
        *,
        loss: Loss,
        rng: np.random.Generator,  # noqa: ARG002 - nothing is drawn
        scale: Callable[[Tensor], Tensor],
    ) -> dict[str, float]:
        """The one subnet."""
        value = loss(run(self.architecture or supernet.largest), targets)
        scale(value).backward()  # type: ignore[no-untyped-call]
        return {"subnet" if self.architecture else "largest": value.item()}
