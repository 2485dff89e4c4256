"""The contract of a way to train a supernet."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from archsmith.architecture import Architecture
from archsmith.method import Method
from archsmith.structure.calls import map_tensors
from archsmith.supernet.supernet import Supernet

Loss = Callable[[Any, Any], Tensor]
"""``loss(outputs, targets) -> scalar``; cross-entropy unless the user gives another.

Cross-entropy is given the logits among the outputs, any other loss the outputs as the network returns them.
"""

RunSubnet = Callable[[Architecture], Any]
"""``run(architecture) -> outputs``: one subnet on the inputs of the batch, in mixed precision where that is on."""


class TrainingMethod(Method):
    """Decides which subnets learn from a batch, and from what: targets or another subnet.

    Optimiser, schedule, mixed precision, checkpoints and progress belong to the loop that all methods share.
    Every method is built from keyword options only, and stores each as an attribute of the same name.
    """

    @abstractmethod
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
        """Accumulate the gradients of one batch; the loop then steps the optimiser.

        Args:
            supernet: in training mode, gradients cleared.
            run: computes a subnet's outputs for the batch, in single precision.
            targets: what ``loss`` compares with, on the supernet's device.
            loss: the user's.
            rng: the only source of randomness, for which subnets are drawn.
            scale: apply it to every loss before ``.backward()`` (mixed precision).

        Returns:
            Losses by the name of the subnet's part in the batch (``"largest"``, ``"smallest"``, ``"random"`` ...);
            the loop shows them and stops where one is not finite.
        """


def detached(outputs: Any) -> Any:
    """Outputs cut from the graph: a teacher's, for distillation."""
    return map_tensors(Tensor.detach, outputs)


def is_cross_entropy(loss: Loss) -> bool:
    """Whether the loss takes the outputs as logits of classes."""
    loss = inspect.unwrap(loss)
    return loss is nn.functional.cross_entropy or isinstance(loss, nn.CrossEntropyLoss)
