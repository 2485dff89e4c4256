"""Blocks of a container and residual branches that a network may run without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archsmith.space.choice import Kind
from archsmith.structure.passing import ONE_TENSOR, Place, StandIn

Passing = tuple[Place, StandIn]


@dataclass(frozen=True)
class Blocks:
    """How many of a container's blocks run. Those that can be left out are dropped one by one, the last of them first.

    A container is a ``ModuleList`` or ``Sequential``. When a block is left out, the later blocks are renumbered, as if
    the container had been built without it.

    Args:
        name: of the choice.
        children: names of all blocks, in order.
        droppable: names of the blocks that can be left out, in order.
        options: numbers of blocks, ascending; the largest is all of them.
        passing: block that can be left out -> where the stream enters it, and what it returns when it is left out.
    """

    name: str
    children: tuple[str, ...]
    droppable: tuple[str, ...]
    options: tuple[int, ...]
    passing: Mapping[str, Passing] = field(default_factory=dict)
    kind: Kind = "ordinal"

    def dropped(self, number: int) -> tuple[str, ...]:
        """The blocks that option ``number`` leaves out."""
        less = len(self.children) - self.options[number]
        return self.droppable[len(self.droppable) - less :]

    def runs(self, child: str) -> tuple[int, ...]:
        """Numbers of the options under which the block ``child`` runs."""
        return tuple(i for i in range(len(self.options)) if child not in self.dropped(i))

    def record(self, path: str, number: int, plan: dict[str, Any]) -> None:
        """Write the option into the fields of a plan under construction."""
        plan["skipped"] += [f"{path}.{child}" if path else child for child in self.dropped(number)]


@dataclass(frozen=True)
class Branch:
    """Whether a residual branch runs: ``x + f(x)`` or ``x`` alone.

    A module that returns zeros replaces a branch that is left out: ``nn.Hardshrink`` with an infinite threshold, or a
    ``torch.fx.GraphModule`` where the branch has several inputs or outputs.

    Args:
        name: of the choice.
        passing: where the stream enters it, and what it returns when it is left out.
    """

    name: str
    passing: Passing = ONE_TENSOR
    options: tuple[bool, bool] = (False, True)
    kind: Kind = "ordinal"

    def runs(self, child: str) -> tuple[int, ...]:  # noqa: ARG002 - all of them or none
        """Numbers of the options under which the modules of the branch run."""
        return (1,)

    def record(self, path: str, number: int, plan: dict[str, Any]) -> None:
        """Write the option into the fields of a plan under construction."""
        if number == 0:
            plan["skipped"].append(path)
            if self.passing != ONE_TENSOR:
                plan["stand_ins"][path] = self.passing
