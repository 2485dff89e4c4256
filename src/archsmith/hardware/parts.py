"""A network taken apart into the blocks that follow one another, each with the inputs that it gets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archsmith.errors import MeasurementFailed, require

if TYPE_CHECKING:
    from torch import nn

_SIMPLE = (int, float, str, bool, type(None))


@dataclass(frozen=True)
class Part:
    """One call of one block.

    Args:
        path: of the module in the network.
        network: the block as a module of tensors by position; it shares the network's weights.
        inputs: the tensors of the call.
        key: sixteen hexadecimal digits: equal for blocks of one structure that get inputs of one shape, whatever their
            weights.
    """

    path: str
    network: nn.Module
    inputs: tuple[Any, ...]
    key: str


def block_paths(network: nn.Module) -> list[str]:
    """The modules that are measured as one: the members of rows of blocks, and what stands beside such rows.

    A row is a ``Sequential`` or ``ModuleList`` with at least two blocks in it, and a block is a module with modules
    in it that is no plain sequence of layers. Whatever has a row somewhere in it is opened.
    """
    return list(_closed("", network))


def parts_of(network: nn.Module, inputs: tuple[Any, ...], paths: Sequence[str] | None = None) -> list[Part]:
    """The calls of blocks in one forward pass, in order.

    Args:
        network: in evaluation mode, inputs by position; lent, and run once.
        inputs: of one call.
        paths: of the blocks, those that it does not have left out; found unless given. A smaller network of a supernet
            has rows of a single block, which are not found: the paths are those of the largest.

    Raises:
        MeasurementFailed: when the network does not run.
    """
    torch = require("torch", extra="torch", purpose="Taking networks apart")
    found: list[Part] = []

    def listen(path: str) -> Any:
        def heard(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found.append(_part(path, module, args, kwargs))

        return heard

    modules = dict(network.named_modules())
    with ExitStack() as stack:
        for path in block_paths(network) if paths is None else paths:
            if path in modules:
                handle = modules[path].register_forward_pre_hook(listen(path), with_kwargs=True)
                stack.callback(handle.remove)
        try:
            with torch.no_grad():
                network(*inputs)
        except Exception as error:  # a user's network may raise anything
            raise MeasurementFailed(f"the network cannot be run to take it apart: {error}") from error
    return found


def _closed(path: str, module: nn.Module) -> Iterator[str]:
    if not _has_row(module):
        if path and (any(True for _ in module.parameters()) or not module._modules):
            yield path
        return
    for name, child in module._modules.items():
        if child is not None:
            yield from _closed(f"{path}.{name}" if path else name, child)


def _has_row(module: nn.Module) -> bool:
    return any(_is_row(m) for m in module.modules())


def _is_row(module: nn.Module) -> bool:
    from torch import nn

    if not isinstance(module, nn.Sequential | nn.ModuleList):
        return False
    return sum(bool(child._modules) and not _is_plain(child) for child in module) >= 2


def _is_plain(module: nn.Module) -> bool:
    """Whether it is a sequence of single layers, such as convolution, norm and activation."""
    from torch import nn

    return isinstance(module, nn.Sequential) and not any(child._modules for child in module)


def _part(path: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Part:
    import torch
    from torch.utils import _pytree

    leaves, form = _pytree.tree_flatten((args, dict(kwargs)))
    tensors = tuple(x.detach().clone() for x in leaves if isinstance(x, torch.Tensor))
    rest = [None if isinstance(x, torch.Tensor) else x for x in leaves]
    places = [i for i, x in enumerate(leaves) if isinstance(x, torch.Tensor)]
    shapes = [(tuple(x.shape), str(x.dtype)) for x in tensors]
    said = [repr(x) if isinstance(x, _SIMPLE) else type(x).__qualname__ for x in rest]
    text = repr((parts_signature(module), shapes, said, places))
    return Part(path, _called(module, rest, places, form), tensors, hashlib.sha256(text.encode()).hexdigest()[:16])


def parts_signature(module: nn.Module) -> list[Any]:
    """All that the time of a call depends on beside its inputs: classes, settings, and shapes of weights."""
    found = []
    for name, inner in module.named_modules():
        settings = {
            key: repr(value)
            for key, value in vars(inner).items()
            if not key.startswith("_") and key != "training" and _is_simple(value)
        }
        own = [*inner._parameters.items(), *inner._buffers.items()]
        weights = [(key, tuple(t.shape), str(t.dtype)) for key, t in own if t is not None]
        kind = f"{type(inner).__module__}.{type(inner).__qualname__}"
        found.append((name, kind, sorted(settings.items()), weights))
    return found


def _is_simple(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_simple(v) for v in value)
    return isinstance(value, _SIMPLE)


def _called(module: nn.Module, rest: list[Any], places: list[int], form: Any) -> nn.Module:
    """``module`` as a function of tensors alone; what else it is called with is fixed."""
    from torch import nn
    from torch.utils import _pytree

    class Called(nn.Module):
        """One call of a block."""

        def __init__(self) -> None:
            super().__init__()
            self.block = module
            self.training = module.training

        def forward(self, *tensors: Any) -> Any:
            """The block's own outputs."""
            leaves = list(rest)
            for place, tensor in zip(places, tensors, strict=True):
                leaves[place] = tensor
            args, kwargs = _pytree.tree_unflatten(leaves, form)
            return self.block(*args, **kwargs)

    return Called()
