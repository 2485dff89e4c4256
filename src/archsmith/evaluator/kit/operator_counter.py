"""Multiply-adds and memory of one forward pass, operator by operator, from shapes alone."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class CountedOperation:
    """One operator that multiplies.

    Args:
        name: such as ``convolution``.
        macs: multiply-adds.
        weights: bytes of parameters that it reads.
        activations: bytes of everything else that it reads and writes.
    """

    name: str
    macs: int
    weights: int
    activations: int


@dataclass
class OperatorCounts:
    """Of one forward pass.

    Args:
        operations: in the order in which they run.
        live_bytes: the most bytes of inputs and activations that are alive at one time.
        weight_bytes: of all parameters and buffers, shared ones once.
    """

    operations: list[CountedOperation] = field(default_factory=list)
    live_bytes: int = 0
    weight_bytes: int = 0


def count_operators(module: nn.Module, example_inputs: tuple[Any, ...]) -> OperatorCounts:
    """Run ``module`` on shapes without data, or with data where its control flow depends on them.

    Attention is taken apart into its matrix products, as runtimes without a fused kernel do it.

    Args:
        module: in evaluation mode, takes its inputs by position; not changed.
        example_inputs: of one call; counted as they are, whatever their batch.
    """
    named: dict[str, Tensor] = dict((*module.named_parameters(), *module.named_buffers()))
    try:
        weights = {name: tensor.to("meta") for name, tensor in named.items()}
        shapes = tuple(x.to("meta") if isinstance(x, Tensor) else x for x in example_inputs)
        return _counted(module, weights, shapes)
    except (RuntimeError, NotImplementedError):
        return _counted(module, named, example_inputs)


def _counted(module: nn.Module, weights: Mapping[str, Tensor], inputs: tuple[Any, ...]) -> OperatorCounts:
    found = OperatorCounts(
        weight_bytes=sum(t.nbytes for t in {t.untyped_storage()._cdata: t for t in weights.values()}.values())
    )
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _Watch(found, list(weights.values())) as watch:
        for x in inputs:
            if isinstance(x, Tensor):
                watch.keep(x)
        torch.func.functional_call(module, dict(weights), inputs)
    return found


class _Watch(TorchDispatchMode):
    """Sees every operator, and every tensor from its birth to its death."""

    def __init__(self, found: OperatorCounts, weights: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found, self.alive = found, 0
        self.weights = {t.untyped_storage()._cdata for t in weights}
        self.known: set[int] = set()

    def keep(self, tensor: Tensor) -> None:
        """Count a tensor's memory once, until nothing holds it any more."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.weights or key in self.known:
            return
        size = storage.nbytes()
        self.known.add(key)
        self.alive += size
        self.found.live_bytes = max(self.found.live_bytes, self.alive)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.alive -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        packet = getattr(func, "_overloadpacket", None)
        if packet not in flop_registry and func is not torch.ops.prim.device.default:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        out = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        for tensor in out:
            self.keep(tensor)
        if packet in flop_registry:
            self._note(packet, args, kwargs, result, out)
        return result

    def _note(self, packet: Any, args: Any, kwargs: Any, result: Any, out: Sequence[Tensor]) -> None:
        read = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        own = [t for t in read if t.untyped_storage()._cdata in self.weights]
        weights = sum(t.nbytes for t in own)
        moved = sum(t.nbytes for t in (*read, *out)) - weights
        macs = flop_registry[packet](*args, **kwargs, out_val=result) // 2
        self.found.operations.append(CountedOperation(packet.__name__, int(macs), weights, moved))
