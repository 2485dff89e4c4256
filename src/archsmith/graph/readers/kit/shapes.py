"""Running a model without memory for the shapes alone, several times faster than torch's own shape functions.

Nearly all of the time of such a run goes into a few operators whose shape functions are written in Python. Their shapes
are computed here; all other operators run as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from archsmith.graph.readers.kit.observing import Observer

ANCHORS = frozenset({"convolution", "mm", "addmm", "bmm", "baddbmm", "embedding", "cat", "native_layer_norm"})
ANCHORS |= {"native_group_norm", "native_batch_norm", "_native_batch_norm_legit_no_training", "_fused_rms_norm"}
"""Operators that read weights or join tensors: their output shapes show whether sizes fit."""


Memory = dict[Any, Any]
"""Operator with the shapes and other arguments of a call -> what came out, as shapes."""

CALLS_KEPT = 50_000
"""How many calls a memory holds."""


class Quick(Observer):  # type: ignore[no-untyped-call]
    """Runs operators on tensors without memory by their shapes alone, where these are known.

    Args:
        memory: of earlier runs; calls that were in one are not computed again.
    """

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self._memory = memory

    def run(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        shapes_of = _shape_function(func, name) if args and not kwargs else None
        if shapes_of is not None:
            first = args[0][0] if isinstance(args[0], list | tuple) else args[0]
            if isinstance(first, Tensor) and first.device.type == "meta":
                found = shapes_of(args, name)
                if found is not None:
                    return found
        return self._remembered(func, args, kwargs) if _is_pure(func) else func(*args, **kwargs)

    def _remembered(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        try:
            key = func, _key(args), _key(list(kwargs.items()))
            known = self._memory.get(key)
        except TypeError:  # values that have no hash, tensors with memory
            return func(*args, **kwargs)
        if known is not None:
            return _made(known)
        result = func(*args, **kwargs)
        tensors = result if isinstance(result, tuple | list) else [result]
        if all(isinstance(t, Tensor) and t.device.type == "meta" for t in tensors):
            if len(self._memory) >= CALLS_KEPT:
                self._memory.clear()
            each = [(tuple(t.shape), t.stride(), t.dtype) for t in tensors]
            self._memory[key] = each[0] if isinstance(result, Tensor) else each
        return result


class Shapes(Quick):  # type: ignore[no-untyped-call]
    """Keeps the shapes that come out of the operators in ``ANCHORS``.

    Attributes:
        names: of those operators, in order.
        shapes: of their first outputs.
    """

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self.names: list[str] = []
        self.shapes: list[tuple[int, ...]] = []

    def seen(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:  # noqa: ARG002
        if name in ANCHORS:
            self.names.append(name)
            self.shapes.append(tuple((result[0] if isinstance(result, tuple | list) else result).shape))


TABLE_READERS = frozenset({"slice", "select", "index", "index_select", "embedding", "gather"})
"""Operators that read a part of a table."""


class Tables(Shapes):  # type: ignore[no-untyped-call]
    """Also sees what is read out of parameters and buffers by position.

    Args:
        memory: of earlier runs.
        tensors: the tables, by name.

    Attributes:
        read: ``(name, shape of what is read)``, in order.
    """

    def __init__(self, memory: Memory, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(memory)
        self._names = {id(t): name for name, t in tensors.items()}
        self.read: list[tuple[str, tuple[int, ...]]] = []

    def seen(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        super().seen(func, name, args, kwargs, result)
        if name in TABLE_READERS and args and id(args[0]) in self._names:
            self.read.append((self._names[id(args[0])], tuple(result.shape)))


def _key(value: Any) -> Any:
    """What the outputs of a call depend on, if no values do.

    Raises:
        TypeError: where values may decide.
    """
    if isinstance(value, Tensor):
        if value.device.type != "meta":
            raise TypeError
        return tuple(value.shape), value.stride(), value.dtype
    if isinstance(value, list | tuple):
        return tuple([_key(v) for v in value])
    return type(value), value


def _made(known: Any) -> Any:
    if isinstance(known, tuple):
        return torch.empty_strided(known[0], known[1], dtype=known[2], device="meta")
    return tuple(_made(k) for k in known)


@cache
def _is_pure(func: Any) -> bool:
    """Whether an operator makes new tensors and changes none."""
    schema = func._schema
    return bool(schema.returns) and all(a.alias_info is None for a in (*schema.arguments, *schema.returns))


@cache
def _shape_function(func: Any, name: str) -> Callable[[Sequence[Any], str], Any] | None:
    """The function that computes the shapes of an operator, or ``None``."""
    pointwise = torch.Tag.pointwise in func.tags or name.rstrip("_") in _ALSO_POINTWISE
    return _SHAPE_FUNCTIONS.get(name) or (_pointwise if pointwise and name not in _OTHER_TYPE else None)


def _pointwise(args: Sequence[Any], name: str) -> Any:
    """Floating-point tensors of one type; anything else has rules of its own."""
    tensors = [a for a in args if isinstance(a, Tensor)]
    kind = tensors[0].dtype
    if not kind.is_floating_point or any(t.dtype != kind for t in tensors):
        return None
    shape = tensors[0].shape
    if any(t.shape != shape for t in tensors):
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
    """As torch does it, in a tenth of the time."""
    rank = max(len(shape) for shape in shapes)
    found = [1] * rank
    for shape in shapes:
        for i, size in enumerate(shape, rank - len(shape)):
            if size != 1:
                if found[i] not in (1, size):
                    return torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call,no-any-return] # complains
                found[i] = size
    return torch.Size(found)


def _like(args: Sequence[Any], _name: str) -> Any:
    return torch.empty(args[0].shape, dtype=args[0].dtype, device="meta")


def _channels(args: Sequence[Any], _name: str) -> Any:
    """A batch norm; in training its statistics are those of the channels."""
    x, channels = args[0], args[0].shape[1]
    if any(t is not None and t.shape != (channels,) for t in args[1:5]):
        return None
    kept = channels if args[5] else 0
    if args[5] and x.numel() <= channels:
        return None
    return torch.empty(x.shape, dtype=x.dtype, device="meta"), x.new_empty(kept), x.new_empty(kept)


def _convolved(args: Sequence[Any], _name: str) -> Any:
    """A convolution that is not transposed, on a batch."""
    x, weight, bias, stride, padding, dilation, transposed, _, groups = args
    fits = x.ndim == weight.ndim and x.dtype == weight.dtype and x.shape[1] == weight.shape[1] * groups
    if transposed or not fits or weight.shape[0] % groups or (bias is not None and bias.shape != weight.shape[:1]):
        return None
    spatial = []
    for i, size in enumerate(x.shape[2:]):
        step, pad, gap = (v[i] if len(v) > 1 else v[0] for v in (stride, padding, dilation))
        spatial.append((size + 2 * pad - gap * (weight.shape[2 + i] - 1) - 1) // step + 1)
    if min(spatial) < 1:
        return None
    return torch.empty((x.shape[0], weight.shape[0], *spatial), dtype=x.dtype, device="meta")


def _joined(args: Sequence[Any], _name: str) -> Any:
    """A concatenation."""
    parts, dim = args[0], args[1] if len(args) > 1 else 0
    first = parts[0]
    dim %= max(first.ndim, 1)
    total = 0
    for part in parts:
        if part.dtype != first.dtype or part.ndim != first.ndim or part.ndim == 0:
            return None
        if part.shape[:dim] != first.shape[:dim] or part.shape[dim + 1 :] != first.shape[dim + 1 :]:
            return None
        total += part.shape[dim]
    return torch.empty((*first.shape[:dim], total, *first.shape[dim + 1 :]), dtype=first.dtype, device="meta")


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


_SHAPE_FUNCTIONS: dict[str, Callable[[Sequence[Any], str], Any]] = {
    **dict.fromkeys(("_softmax", "_safe_softmax"), _like),
    "native_batch_norm": _channels,
    "convolution": _convolved,
    "cat": _joined,
    "native_layer_norm": _last,
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), _product),
}
"""Operator -> function of its outputs; that returns ``None`` where the operator itself must run, or raise an error."""
