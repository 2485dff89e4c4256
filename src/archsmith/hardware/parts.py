"""A network split into its consecutive blocks, each with its inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archsmith.errors import MeasurementFailed, require

if TYPE_CHECKING:
    from torch import nn

_PLAIN_TYPES = (int, float, str, bool, type(None))


@dataclass(frozen=True)
class Part:
    """One call of one block.

    Args:
        path: of the module in the network.
        network: the block as a module that takes only tensors, by position; it shares the network's weights.
        inputs: the tensors of the call.
        key: sixteen hexadecimal digits: equal for blocks of equal structure and equal shapes of inputs, whatever their
            weights.
    """

    path: str
    network: nn.Module
    inputs: tuple[Any, ...]
    key: str


def block_paths(network: nn.Module) -> list[str]:
    """Paths of the modules that are measured as one: the members of rows of blocks, and the modules beside such rows.

    A row is a ``Sequential`` or ``ModuleList`` with at least two blocks in it. A block is a module that contains
    modules and is no plain sequence of layers. A module that contains a row is split into its children.
    """
    return list(_closed("", network))


def parts_of(network: nn.Module, inputs: tuple[Any, ...], paths: Sequence[str] | None = None) -> list[Part]:
    """The calls of blocks in one forward pass, in order.

    Args:
        network: in evaluation mode, inputs by position; run once, not changed.
        inputs: of one call.
        paths: of the blocks; :func:`block_paths` unless given; paths that the network lacks are ignored. Give those of
            the largest network for a subnet: a row with a single block left would not be recognised.

    Raises:
        MeasurementFailed: when the network does not run.
    """
    torch = require("torch", extra="torch", purpose="Splitting networks into blocks")
    found: list[Part] = []

    def recorder(path: str) -> Any:
        def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found.append(_part(path, module, args, kwargs))

        return record

    modules = dict(network.named_modules())
    with ExitStack() as stack:
        for path in block_paths(network) if paths is None else paths:
            if path in modules:
                handle = modules[path].register_forward_pre_hook(recorder(path), with_kwargs=True)
                stack.callback(handle.remove)
        try:
            with torch.no_grad():
                network(*inputs)
        except Exception as error:  # a user's network may raise anything
            raise MeasurementFailed(f"the network cannot be run to split it into blocks: {error}") from error
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
    others = [repr(x) if isinstance(x, _PLAIN_TYPES) else type(x).__qualname__ for x in rest]
    text = repr((parts_signature(module), shapes, others, places))
    return Part(path, _called(module, rest, places, form), tensors, hashlib.sha256(text.encode()).hexdigest()[:16])


def parts_signature(module: nn.Module) -> list[Any]:
    """Everything but the inputs that the time of a call depends on: classes, settings, and shapes of weights."""
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
    return isinstance(value, _PLAIN_TYPES)


def _called(module: nn.Module, rest: list[Any], places: list[int], form: Any) -> nn.Module:
    """``module`` as a function of tensors alone; its other arguments are fixed."""
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
