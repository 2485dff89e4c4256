"""Uniform sampling of single paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np
from torch import Tensor

from archsmith.method import Paper
from archsmith.supernet.supernet import Supernet
from archsmith.training.base import Loss, RunSubnet, TrainingMethod


@final
class SinglePath(TrainingMethod):
    """Single-path one-shot: each batch trains one random subnet, uniform per choice, on the targets."""

    paper = Paper(
        authors="Guo, Zichao and Zhang, Xiangyu and Mu, Haoyuan and Heng, Wen and Liu, Zechun and Wei, Yichen and "
        "Sun, Jian",
        title="Single Path One-Shot Neural Architecture Search with Uniform Sampling",
        year=2020,
        venue="ECCV",
        arxiv="1904.00420",
    )

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
        """One subnet."""
        value = loss(run(supernet.random(rng)), targets)
        scale(value).backward()  # type: ignore[no-untyped-call]
        return {"random": value.item()}
