"""Depth that is found: blocks of a container that keep the dimensions of what passes through them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from archsmith.space.choice import Kind
from archsmith.supernet.tracing import ModuleCall, Trace


@dataclass(frozen=True)
class Blocks:
    """How many of a container's blocks run: those that can be left out go one by one, the last of them first.

    A container is a ``ModuleList`` or ``Sequential``: without a block it is the shorter container, its later blocks
    counted anew, as if it had been built so.

    Args:
        name: of the choice.
        children: names of all blocks, in order.
        droppable: of those that can be left out, in order.
        options: numbers of blocks, ascending; the largest is all of them.
    """

    name: str
    children: tuple[str, ...]
    droppable: tuple[str, ...]
    options: tuple[int, ...]
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

    Without it a module that gives zeros stands in its place (``nn.Hardshrink`` with an infinite threshold).

    Args:
        name: of the choice.
    """

    name: str
    options: tuple[bool, bool] = (False, True)
    kind: Kind = "ordinal"

    def runs(self, child: str) -> tuple[int, ...]:  # noqa: ARG002 - all of them or none
        """Numbers of the options under which the modules of the branch run."""
        return (1,)

    def record(self, path: str, number: int, plan: dict[str, Any]) -> None:
        """Write the option into the fields of a plan under construction."""
        if number == 0:
            plan["skipped"].append(path)


def found_branches(model: nn.Module, trace: Trace) -> dict[str, Branch]:
    """Modules with modules in them, called once, that keep every dimension and whose output is added to a stream."""
    found = {}
    for path in trace.added:
        module = model.get_submodule(path)
        parent = model.get_submodule(path.rpartition(".")[0])
        if path and module._modules and not isinstance(parent, nn.ModuleList | nn.Sequential):
            if not _why_not(trace, path) and any(p.ndim > 1 for p in module.parameters()):
                found[path] = Branch(f"{path}.branch")
    return found


def found_blocks(model: nn.Module, trace: Trace, least: float, rigid: dict[str, str]) -> dict[str, Blocks]:
    """Containers of which blocks can be left out, by the name of the container.

    A block can be left out if it is called once, on one tensor whose every dimension it keeps, and hands its output
    to the next.

    Args:
        model: the model of the trace.
        trace: one run of it.
        least: the smallest share of a container's blocks that stays.
        rigid: receives a reason for every block with weights that cannot be left out.
    """
    found: dict[str, Blocks] = {}
    for path, module in reversed(list(model.named_modules())):  # inner containers first
        if not isinstance(module, nn.ModuleList | nn.Sequential) or len(module) < 2:
            continue
        children = tuple(module._modules)
        droppable = []
        for child in children:
            name = f"{path}.{child}" if path else child
            block = module._modules[child]
            if block is None or not block._modules or not any(p.ndim > 1 for p in block.parameters()):
                continue  # single layers are no blocks
            if name in found:
                continue  # a stage whose blocks can be left out one by one
            reason = _why_not(trace, name)
            if not reason:
                droppable.append(child)
            else:
                rigid[name] = reason
        if droppable:
            lowest = max(math.ceil(least * len(children)), len(children) - len(droppable), 1)
            options = tuple(range(lowest, len(children) + 1))
            if len(options) > 1:
                found[path] = Blocks(f"{path}.depth" if path else "depth", children, tuple(droppable), options)
    return dict(reversed(found.items()))


def _why_not(trace: Trace, name: str) -> str:
    calls: Sequence[ModuleCall] = trace.calls.get(name, [])
    if len(calls) != 1:
        return f"it is called {len(calls)} times"
    [call] = calls
    if call.entered is None or call.left is None:
        return "it does not turn one tensor into one"
    if len(call.entered) != len(call.left):
        return "its output has another shape than its input"
    if not all(trace.algebra.same(a, b) for a, b in zip(call.entered, call.left, strict=True)):
        return "its output has other dimensions than its input"
    return ""
