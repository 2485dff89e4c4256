"""Which attribute of a module is the size of which dimension: integers that carry their origin through one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from archsmith.discovery.dimensions import Algebra, Dim

Attribute = tuple[str, str, int | None]
"""Name of a module, name of one of its attributes, and the position where that is a tuple."""

Arrivals = Iterator[tuple[Any, Dim]]
"""An argument of a function, and the dimension whose size it is."""


class Marked(int):
    """An integer that knows where it was read: from an attribute, or from the size of a dimension.

    ``over`` is its divisor since then; ``met`` is called with every marked number that it compares equal to.
    """

    origin: Attribute | list[Dim]
    over: int | None = None
    met: Callable[[Marked, Marked], None] | None = None

    @classmethod
    def of(
        cls, value: int, origin: Attribute | list[Dim], met: Callable[[Marked, Marked], None] | None = None
    ) -> Marked:
        """``value``, read from an attribute, or from the one dimension in a list."""
        marked = cls(value)
        marked.origin, marked.met = origin, met
        return marked

    def __eq__(self, other: object) -> bool:
        equal = int.__eq__(self, other)
        if equal is True and isinstance(other, Marked) and self.met is not None:
            self.met(self, other)
        return equal

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = int.__hash__

    def __floordiv__(self, other: Any) -> int:
        quotient = int(self) // int(other) if isinstance(other, int) else NotImplemented
        if isinstance(quotient, int) and self.over is None and quotient > 1 and int(self) % int(other) == 0:
            marked = Marked.of(quotient, self.origin)
            marked.over = other
            return marked
        return quotient


class Marks(TorchFunctionMode):
    """Marks the integers of a model's modules and sees where the marks arrive.

    Args:
        model: a copy; its integer attributes, and tuples and lists of integers, are replaced by marked ones.
        algebra: of the dimensions.
        dims: gives the dimensions of a tensor.

    Attributes:
        found: attribute -> every dimension whose size it was.
    """

    def __init__(self, model: nn.Module, algebra: Algebra, dims: Callable[[Tensor], list[Dim]]) -> None:
        super().__init__()
        self._algebra, self._dims = algebra, dims
        self.found: dict[Attribute, list[Dim]] = {}
        for name, module in model.named_modules():
            for key, value in list(vars(module).items()):
                if type(value) is int and value > 1:
                    vars(module)[key] = Marked.of(value, (name, key, None), self._met)
                elif type(value) in (tuple, list) and value and all(type(v) is int for v in value):
                    vars(module)[key] = type(value)(
                        Marked.of(v, (name, key, i), self._met) if v > 1 else v for i, v in enumerate(value)
                    )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = _property(func) or getattr(func, "__name__", "").rstrip("_")
        if name in ("size", "shape"):
            return self._read(args, kwargs or {}, result)
        arrivals = _ARRIVALS.get(name)
        if arrivals is not None:
            for number, dim in arrivals(self, args, kwargs or {}, result):
                if isinstance(number, Marked):
                    self._arrived(number, dim)
        return result

    def _read(self, args: Any, kwargs: Any, result: Any) -> Any:
        """Mark sizes of tensors too: a tensor built with such a size is as large as the one that it was read from."""
        dims = self._dims(args[0])
        if isinstance(result, int):
            where = args[1] if len(args) > 1 else kwargs["dim"]
            return Marked.of(result, [dims[where]], self._met) if result > 1 else result
        marked = (Marked.of(n, [d], self._met) if n > 1 else n for n, d in zip(result, dims, strict=True))
        return torch.Size(tuple(marked))

    def _met(self, one: Marked, other: Marked) -> None:
        """Equate a size and an attribute that were compared and found equal."""
        for size, attribute in ((one, other), (other, one)):
            if isinstance(size.origin, list) and isinstance(attribute.origin, tuple) and size.over is None:
                self._arrived(attribute, size.origin[0])

    def _arrived(self, number: Marked, dim: Dim) -> None:
        if isinstance(number.origin, tuple):
            if number.over is None:
                self.found.setdefault(number.origin, []).append(dim)
        elif not self._as_large(number, number.origin[0], dim):
            self._equate(number, number.origin[0], dim)

    def _as_large(self, number: Marked, source: Dim, dim: Dim) -> bool:
        """Whether ``dim`` and ``source`` have equal sizes in every architecture already."""
        over: list[Dim] = []
        if isinstance(number.over, Marked) and isinstance(number.over.origin, tuple):
            if number.over.origin not in self.found:
                return False
            over = self.found[number.over.origin][:1]
        elif number.over is not None:
            over = self._algebra.dims([int(number.over)], "a number")
        return self._algebra.polynomial(*over, dim) == self._algebra.polynomial(source)

    def _equate(self, number: Marked, source: Dim, dim: Dim) -> None:
        if number.over is None:
            self._algebra.unify(source, dim, "it equals a dimension that cannot be split in the same way")
            return
        parts = self._algebra.split(source, (int(number.over), int(number)))
        if parts is None:
            self._algebra.freeze(source, "it is divided by a number that is no factor of it")
            self._algebra.freeze(dim, "it is a part of a dimension that cannot be split in the same way")
            return
        self._algebra.unify(parts[1], dim, "it is a part of a dimension that cannot be split in the same way")
        if isinstance(number.over, Marked):
            self._arrived(number.over, parts[0])
            if isinstance(number.over.origin, tuple) and (known := self.found.get(number.over.origin)):
                # now, not in the end: the next comparison may be with a product of it
                self._algebra.unify(known[0], parts[0], "one attribute is the size of both")
        else:
            self._algebra.freeze(parts[0], "it is divided by this number")

    # Where numbers arrive -----------------------------------------------------------------------------------------

    def _sizes(self, args: Any, kwargs: Any, result: Any) -> Arrivals:
        """``view(x, a, b)``, ``reshape(x, (a, b))``, ``expand``: one number a dimension."""
        yield from self._each(kwargs.get("shape", kwargs.get("size", args[1:])), result)

    def _created(self, args: Any, kwargs: Any, result: Any) -> Arrivals:
        """``zeros(a, b)``, ``zeros((a, b))``."""
        yield from self._each(kwargs.get("size", args), result)

    def _each(self, given: Any, result: Tensor) -> Arrivals:
        flat = given[0] if len(given) == 1 and isinstance(given[0], tuple | list) else given
        yield from zip(flat, self._dims(result), strict=False)

    def _unflattened(self, args: Any, kwargs: Any, result: Any) -> Arrivals:
        x, dim, sizes = (*args, *kwargs.values())[:3]
        yield from zip(sizes, self._dims(result)[dim % x.ndim :], strict=False)

    def _split(self, args: Any, kwargs: Any, result: Any) -> Arrivals:
        sizes = kwargs.get("split_size_or_sections", kwargs.get("split_size", args[1] if len(args) > 1 else None))
        dim = kwargs.get("dim", args[2] if len(args) > 2 else 0)
        each = sizes if isinstance(sizes, tuple | list) else [sizes] * (len(result) - 1 or 1)
        for size, output in zip(each, result, strict=False):
            yield size, self._dims(output)[dim]

    def _chunked(self, args: Any, kwargs: Any, result: Any) -> Arrivals:
        """Chunks are equal parts of whatever size there is."""
        dim = kwargs.get("dim", args[2] if len(args) > 2 else 0)
        parts = [self._dims(output)[dim] for output in result]
        for part in parts[1:]:
            self._algebra.unify(parts[0], part, "a chunk is smaller than the others")
        yield from ()

    def _indexed(self, args: Any, _kwargs: Any, result: Any) -> Arrivals:
        """``x[..., :a]``: from the left up to the ellipsis, from the right behind it."""
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        if any(i is None or isinstance(i, int | Tensor | list) for i in index):
            return
        dims, behind = self._dims(result), False
        for i, part in enumerate(index):
            behind = behind or part is Ellipsis
            if isinstance(part, slice) and part.start is None and part.step is None:
                yield part.stop, dims[i - len(index) if behind else i]

    def _normalised(self, args: Any, kwargs: Any, result: Any) -> Arrivals:
        shape: Sequence[Any] = kwargs.get("normalized_shape", args[1] if len(args) > 1 else ())
        yield from zip(reversed(shape), reversed(self._dims(result)), strict=False)

    def _grouped(self, args: Any, kwargs: Any, _result: Any) -> Arrivals:
        """The groups are the leading factor of the channels."""
        groups = kwargs.get("num_groups", args[1] if len(args) > 1 else None)
        yield from self._leading(groups, self._dims(args[0])[1])

    def _convolved(self, args: Any, kwargs: Any, _result: Any) -> Arrivals:
        groups = kwargs.get("groups", args[6] if len(args) > 6 else None)
        yield from self._leading(groups, self._dims(args[1])[0])

    def _transposed(self, args: Any, kwargs: Any, _result: Any) -> Arrivals:
        groups = kwargs.get("groups", args[6] if len(args) > 6 else None)
        yield from self._leading(groups, self._dims(args[1])[0])

    def _leading(self, groups: Any, channels: Dim) -> Arrivals:
        size = self._algebra.size(channels)
        if isinstance(groups, Marked):
            parts = [channels] if groups == size else self._algebra.split(channels, (int(groups), size // groups))
            if parts is not None:
                yield groups, parts[0]

    def _attended(self, args: Any, kwargs: Any, _result: Any) -> Arrivals:
        """PyTorch's own attention derives the head size from the width of its inputs: it is heads x head size."""
        query, width, heads, projection = args[0], args[3], args[4], args[5]
        inside = None if projection is None else self._algebra.split(self._dims(projection)[0], (3, int(width)))
        if inside is None and kwargs.get("q_proj_weight") is not None:
            inside = [[], self._dims(kwargs["q_proj_weight"])[0]]
        if inside is not None:
            self._algebra.unify(self._dims(query)[-1], inside[1], "attention whose width is not that of its inputs")
            parts = self._algebra.split(inside[1], (int(heads), int(width) // int(heads)))
            yield width, inside[1]
            if parts is not None:
                yield heads, parts[0]

    def _scaled(self, args: Any, kwargs: Any, _result: Any) -> Arrivals:
        """Fused attention divides by the root of the head size that it finds, unless it is given a scale."""
        if kwargs.get("scale") is None:
            self._algebra.span(self._dims(args[0] if args else kwargs["query"])[-1])
        yield from ()


def _property(func: Any) -> str:
    getter = getattr(func, "__name__", "") == "__get__"
    return getattr(getattr(func, "__self__", None), "__name__", "") if getter else ""


_ARRIVALS: dict[str, Callable[[Marks, Any, Any, Any], Arrivals]] = {
    **dict.fromkeys(("view", "reshape", "expand", "new_zeros", "new_ones", "new_empty"), Marks._sizes),
    **dict.fromkeys(("zeros", "ones", "empty"), Marks._created),
    **dict.fromkeys(("split", "split_with_sizes"), Marks._split),
    **dict.fromkeys(("layer_norm", "rms_norm"), Marks._normalised),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), Marks._convolved),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), Marks._transposed),
    **dict.fromkeys(("chunk", "tensor_split"), Marks._chunked),
    "unflatten": Marks._unflattened,
    "__getitem__": Marks._indexed,
    **dict.fromkeys(("group_norm", "channel_shuffle", "native_channel_shuffle"), Marks._grouped),
    "multi_head_attention_forward": Marks._attended,
    "scaled_dot_product_attention": Marks._scaled,
}
"""Function -> its numeric arguments, each with the dimension whose size it is."""
