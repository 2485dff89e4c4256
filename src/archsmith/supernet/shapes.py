"""Running a model without memory for the shapes alone, several times faster than torch's own shape functions.

Nearly all of the time of such a run goes into a few operators whose shape functions are written in Python, whatever
they compute. Their shapes are said here; all other operators run as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from archsmith.supernet._observing import Observer

ANCHORS = frozenset({"convolution", "mm", "addmm", "bmm", "baddbmm", "embedding", "cat", "native_layer_norm"})
ANCHORS |= {"native_group_norm", "native_batch_norm", "_native_batch_norm_legit_no_training", "_fused_rms_norm"}
"""Operators that read weights or put tensors together: what they give shows whether sizes fit."""


class Shapes(Observer):  # type: ignore[no-untyped-call]
    """Keeps the shapes that come out of the operators in ``ANCHORS``.

    Attributes:
        names: of those operators, in order.
        shapes: of their first outputs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.shapes: list[tuple[int, ...]] = []

    def run(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        return _quickly(func, name, args, kwargs)

    def seen(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:  # noqa: ARG002
        if name in ANCHORS:
            self.names.append(name)
            self.shapes.append(tuple((result[0] if isinstance(result, tuple | list) else result).shape))


def _quickly(func: Any, name: str, args: Sequence[Any], kwargs: Any) -> Any:
    if not kwargs and args and isinstance(args[0], Tensor) and args[0].device.type == "meta":
        said = _SAID.get(name)
        if said is None and (torch.Tag.pointwise in func.tags or name.rstrip("_") in _ALSO_POINTWISE):
            said = _pointwise
        found = said(args, name) if said is not None else None
        if found is not None:
            return found
    return func(*args, **kwargs)


def _pointwise(args: Sequence[Any], name: str) -> Any:
    """Floating-point tensors of one type; anything else has rules of its own."""
    tensors = [a for a in args if isinstance(a, Tensor)]
    kind = tensors[0].dtype
    if not kind.is_floating_point or any(t.dtype != kind for t in tensors) or name in _OTHER_TYPE:
        return None
    shape = tensors[0].shape
    if len(tensors) > 1:
        shape = _broadcast(*(t.shape for t in tensors))
    if name.endswith("_"):
        return args[0] if shape == args[0].shape else None
    return torch.empty(shape, dtype=kind, device="meta")


_ALSO_POINTWISE = frozenset({"hardswish", "hardsigmoid", "hardtanh", "elu", "leaky_relu", "clone"})
_OTHER_TYPE = frozenset(
    {"eq", "ne", "lt", "gt", "le", "ge", "isnan", "isinf", "logical_not", "logical_and", "bitwise_not"}
)
_OTHER_TYPE |= {"_to_copy", "logical_or", "isfinite", "sign", "signbit", "frexp", "isneginf", "isposinf"}


def _broadcast(*shapes: Sequence[int]) -> torch.Size:
    return torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call,no-any-return]


def _like(args: Sequence[Any], _name: str) -> Any:
    return torch.empty(args[0].shape, dtype=args[0].dtype, device="meta")


def _channels(args: Sequence[Any], _name: str) -> Any:
    """A batch norm in evaluation mode."""
    x, channels = args[0], args[0].shape[1]
    if any(t is not None and t.shape != (channels,) for t in args[1:5]) or args[5] is not False:
        return None
    return torch.empty(x.shape, dtype=x.dtype, device="meta"), x.new_empty(0), x.new_empty(0)


def _last(args: Sequence[Any], _name: str) -> Any:
    """A layer norm over the last dimensions."""
    x, shape = args[0], tuple(args[1])
    if tuple(x.shape[-len(shape) :]) != shape or any(t is not None and tuple(t.shape) != shape for t in args[2:4]):
        return None
    rows = (*x.shape[: -len(shape)], *(1,) * len(shape))
    return torch.empty(x.shape, dtype=x.dtype, device="meta"), x.new_empty(rows), x.new_empty(rows)


def _product(args: Sequence[Any], _name: str) -> Any:
    left, right = args[-2:]
    if left.shape[-1] != right.shape[-2] or left.shape[:-2] != right.shape[:-2] or left.dtype != right.dtype:
        return None
    shape = (*left.shape[:-1], right.shape[-1])
    if len(args) == 3 and _broadcast(args[0].shape, shape) != torch.Size(shape):
        return None
    return torch.empty(shape, dtype=left.dtype, device="meta")


_SAID: dict[str, Callable[[Sequence[Any], str], Any]] = {
    **dict.fromkeys(("_softmax", "_safe_softmax"), _like),
    "native_batch_norm": _channels,
    "native_layer_norm": _last,
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), _product),
}
"""Operator -> its outputs; ``None`` where it has to run itself, to compute or to complain."""
