"""Which attribute of a module is the size of which dimension: integers that carry their origin through one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from archsmith.supernet.atoms import Algebra, Dim

Attribute = tuple[str, str, int | None]
"""Name of a module, name of one of its attributes, and the position where that is a tuple."""

Arrivals = Iterator[tuple[Any, Dim]]
"""A number that a function was given, and the dimension of which it is the size."""


class Marked(int):
    """An integer that knows the attribute it was read from."""

    attribute: Attribute

    @classmethod
    def of(cls, value: int, attribute: Attribute) -> Marked:
        """``value``, read from ``attribute``."""
        marked = cls(value)
        marked.attribute = attribute
        return marked


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
                    vars(module)[key] = Marked.of(value, (name, key, None))
                elif type(value) in (tuple, list) and value and all(type(v) is int for v in value):
                    vars(module)[key] = type(value)(
                        Marked.of(v, (name, key, i)) if v > 1 else v for i, v in enumerate(value)
                    )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ARG002
        result = func(*args, **(kwargs or {}))
        arrivals = _ARRIVALS.get(getattr(func, "__name__", "").rstrip("_") or "")
        if arrivals is not None:
            for number, dim in arrivals(self, args, kwargs or {}, result):
                if isinstance(number, Marked):
                    self.found.setdefault(number.attribute, []).append(dim)
        return result

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
        """The groups are what the channels begin with."""
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
        """PyTorch's own attention derives the head size from the width of its inputs: heads x head size is that."""
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


_ARRIVALS: dict[str, Callable[[Marks, Any, Any, Any], Arrivals]] = {
    **dict.fromkeys(("view", "reshape", "expand", "new_zeros", "new_ones", "new_empty"), Marks._sizes),
    **dict.fromkeys(("zeros", "ones", "empty"), Marks._created),
    **dict.fromkeys(("split", "split_with_sizes"), Marks._split),
    **dict.fromkeys(("layer_norm", "rms_norm"), Marks._normalised),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), Marks._convolved),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), Marks._transposed),
    "unflatten": Marks._unflattened,
    "__getitem__": Marks._indexed,
    "group_norm": Marks._grouped,
    "multi_head_attention_forward": Marks._attended,
    "scaled_dot_product_attention": Marks._scaled,
}
"""Function -> the numbers that it was given, each with the dimension of which it is the size."""
