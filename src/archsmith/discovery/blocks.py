"""Finding depth: blocks of a container that keep the dimensions of the tensor that passes through them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from torch import nn

from archsmith.discovery.operators.base import Dims
from archsmith.discovery.tracing import ModuleCall, Trace
from archsmith.structure.blocks import Blocks, Branch, Passing
from archsmith.structure.passing import Place, StandIn, settled


def found_branches(model: nn.Module, trace: Trace, rigid: dict[str, str]) -> dict[str, Branch]:
    """Modules with modules in them, called once, that keep every dimension and whose output is added to a stream.

    Of the modules that write into one object, the first stays: the length of a cache is read from its first layer.

    Args:
        model: the model of the trace.
        trace: one run of it.
        rigid: receives a reason for every branch with weights that cannot be left out.
    """
    found: dict[str, Branch] = {}
    objects: frozenset[int] = frozenset()
    for path in trace.added:
        module = model.get_submodule(path)
        parent = model.get_submodule(path.rpartition(".")[0])
        alone = path and module._modules and not isinstance(parent, nn.ModuleList | nn.Sequential)
        if not alone or not any(p.ndim > 1 for p in module.parameters()):
            continue
        given = frozenset(o for call in trace.calls[path] for o in call.objects)
        passing = _passing(trace, path) if given <= objects else "it is the first to get an object, such as a cache"
        if isinstance(passing, str):
            rigid[f"{path}.branch"] = passing
        else:
            found[path] = Branch(f"{path}.branch", passing)
        objects |= given
    return found


def found_blocks(model: nn.Module, trace: Trace, least: float, rigid: dict[str, str]) -> dict[str, Blocks]:
    """Containers of which blocks can be left out, by the name of the container.

    A block can be left out if it is called once and its first output tensor has every dimension of an input tensor.
    Each further output that is read must be an input, or have every dimension of exactly one other input tensor: a
    second stream. Blocks that get the same tensor are no sequence.

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
        droppable: dict[str, Passing] = {}
        for child in children:
            name = f"{path}.{child}" if path else child
            block = module._modules[child]
            if block is None or not block._modules or not any(p.ndim > 1 for p in block.parameters()):
                continue  # single layers are no blocks
            if name in found:
                continue  # a stage whose blocks can be left out one by one
            passing = _passing(trace, name, several=True)
            if isinstance(passing, str):
                rigid[name] = passing
            else:
                droppable[child] = passing
        for child in _side_by_side(trace, path, droppable):
            del droppable[child]
            rigid[f"{path}.{child}" if path else child] = "it runs beside another block, which gets the same tensor"
        if droppable:
            lowest = max(math.ceil(least * len(children)), len(children) - len(droppable), 1)
            options = tuple(range(lowest, len(children) + 1))
            if len(options) > 1:
                found[path] = Blocks(
                    f"{path}.depth" if path else "depth", children, tuple(droppable), options, droppable
                )
    return dict(reversed(found.items()))


def _side_by_side(trace: Trace, path: str, blocks: Mapping[str, Passing]) -> list[str]:
    """Blocks of a container that get the same tensor as another of its blocks."""
    calls = {child: trace.calls[f"{path}.{child}" if path else child][0] for child in blocks}
    entered = {child: calls[child].serials[blocks[child][0]] for child in blocks}
    into = {child for child in blocks if calls[child].serials[()] == entered[child]}  # it writes into its input
    alone = {child: entered[child] for child in blocks if child not in into}
    twice = {serial for serial, times in Counter(alone.values()).items() if times > 1}
    return [child for child, serial in alone.items() if serial in twice]


def _passing(trace: Trace, name: str, *, several: bool = False) -> Passing | str:
    """Where the stream enters a module and what it returns when it is left out; or why it cannot be left out.

    Args:
        trace: one run of the model.
        name: of the module.
        several: whether more than one stream may pass through it.
    """
    calls: Sequence[ModuleCall] = trace.calls.get(name, [])
    if len(calls) != 1:
        return f"it is called {len(calls)} times"
    [call] = calls
    if call.left is None or call.stand_in is None:
        return "it returns something other than tensors, tuples of tensors and plain values"
    fitting = _fitting(trace, call, call.left)
    if not fitting:
        same_rank = any(len(dims) == len(call.left) for dims in call.entered.values())
        return f"its output has {'other dimensions' if same_rank else 'another shape'} than its input"
    instead: list[StandIn] = [("constant", None)] * len(call.made)
    taken = {fitting[0]}
    for number in sorted(call.needed):
        others = [place for place in _fitting(trace, call, call.made[number]) if place not in taken]
        if len(others) != 1 or not several:
            return "other modules need its further outputs"
        instead[number] = ("input", others[0])
        taken.add(others[0])
    return fitting[0], settled(call.stand_in, instead)


def _fitting(trace: Trace, call: ModuleCall, wanted: Dims) -> list[Place]:
    """Places of the inputs that have the dimensions ``wanted``."""
    return [
        place
        for place, dims in call.entered.items()
        if len(dims) == len(wanted) and all(trace.algebra.same(a, b) for a, b in zip(dims, wanted, strict=True))
    ]
