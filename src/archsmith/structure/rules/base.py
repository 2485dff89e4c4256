"""The contract of a rule: what elastic axes mean for the tensors and attributes of one operator family."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from archsmith.method import Method
from archsmith.structure.axes import Axis, Elastic, Kernel


@dataclass(frozen=True)
class Declared:
    """What varies in one module according to a rule: pure data.

    Args:
        tensors: parameter or buffer -> its axis per dimension (``None``: fixed).
        attributes: attribute that follows -> the axis whose size it is, or a tuple of them.
        consumes: the tensor and dimension that read the module's inputs, where there is one.
        kernel: of the tensor ``"weight"``.
        kernel_attributes: kernel size -> attributes that follow it.
    """

    tensors: Mapping[str, tuple[Axis | None, ...]]
    attributes: Mapping[str, Axis | tuple[Axis, ...]] = field(default_factory=dict)
    consumes: tuple[str, int] | None = None
    kernel: Kernel | None = None
    kernel_attributes: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Every axis of its tensors, each once."""
        return tuple(dict.fromkeys(a for dims in self.tensors.values() for a in dims if a is not None))


class Rule(Method):
    """Knows one operator family. Sizes are checked against the module before anything runs."""

    @abstractmethod
    def handles(self, module: nn.Module) -> bool:
        """Whether ``module`` belongs to the family; a subclass with a ``forward`` of its own may."""

    @abstractmethod
    def declare(self, where: str, module: nn.Module, elastic: Elastic) -> Declared:
        """The axes of every tensor of ``module``.

        Args:
            where: name of the module, for messages.
            module: one that :meth:`handles` accepts.
            elastic: its dimensions, from the user or a tracer.

        Raises:
            InvalidModel: naming module, dimension, expected and actual size.
        """
