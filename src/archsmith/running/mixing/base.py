"""The contract of a mixing rule."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from archsmith.architecture import Architecture
from archsmith.method import Method
from archsmith.running.shadow import PlanProgram, Program
from archsmith.structure.structure import Structure


@dataclass(frozen=True)
class RelaxedCall:
    """The inputs of a mixing rule for one call.

    Args:
        model: of the supernet.
        structure: what is elastic in the model.
        policy_tensors: learned tensors of the supernet's weight policies.
        probabilities: choice name -> tensor ``(options,)``.
        draw: gives an architecture drawn from the probabilities.
        bind: gives the program of an architecture.
    """

    model: nn.Module
    structure: Structure
    policy_tensors: Mapping[str, Tensor]
    probabilities: Mapping[str, Tensor]
    draw: Callable[[], Architecture]
    bind: Callable[[Architecture], PlanProgram]


class Mixing(Method):
    """Mixes many options into one differentiable call.

    Attributes:
        draws: whether it draws options, and so needs a generator.
    """

    draws: ClassVar[bool] = False

    @abstractmethod
    def program(self, call: RelaxedCall) -> Program:
        """What one call shadows.

        Raises:
            InvalidModel: for a choice that the rule cannot mix.
        """
