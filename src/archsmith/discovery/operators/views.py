"""Operators that rearrange dimensions and leave the values alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import final

from archsmith.discovery.operators.base import Call, Dims, Operators, axis
from archsmith.method import OURS


@final
class Views(Operators):
    """Reshapes, permutations, and dimensions of size one that come and go."""

    paper = OURS
    names = frozenset(
        {
            *("view", "_unsafe_view", "reshape", "_reshape_alias", "_reshape_copy", "view_copy", "flatten"),
            *("permute", "transpose", "t", "transpose_", "squeeze", "unsqueeze", "squeeze_", "unsqueeze_"),
            *("expand", "repeat", "movedim", "numpy_T", "permute_copy", "as_strided", "as_strided_", "expand_copy"),
        }
    )

    def apply(self, call: Call) -> Sequence[Dims]:
        x = call.dims(call.tensors[0])
        name = call.name.removesuffix("_copy").rstrip("_")
        if name in ("permute", "transpose", "t", "numpy_T"):
            return [self._permuted(call, name, x)]
        if name == "as_strided":
            same = tuple(call["size"]) == tuple(call.algebra.size(d) for d in x)
            return [x] if same else []  # torch itself lays out the same positions in another way
        resized = {
            "unsqueeze": self._unsqueezed,
            "squeeze": self._squeezed,
            "expand": self._expanded,
            "repeat": self._repeated,
        }
        return [resized[name](call, x) if name in resized else reshaped(call, x, call.shape)]

    def _permuted(self, call: Call, name: str, x: Dims) -> Dims:
        rank = len(x)
        if name == "permute":
            return [x[axis(d, rank)] for d in call["dims"]]
        if name == "transpose":
            found = list(x)
            a, b = axis(call["dim0"], rank), axis(call["dim1"], rank)
            found[a], found[b] = found[b], found[a]
            return found
        return list(reversed(x))

    def _unsqueezed(self, call: Call, x: Dims) -> Dims:
        where = axis(call["dim"], len(x) + 1)
        return [*x[:where], *call.algebra.dims([1]), *x[where:]]

    def _squeezed(self, call: Call, x: Dims) -> Dims:
        given = call.arguments.get("dim")
        along = range(len(x)) if given is None else [given] if isinstance(given, int) else given
        gone = {axis(d, len(x)) for d in along}
        return [d for i, d in enumerate(x) if not (i in gone and call.algebra.size(d) == 1)]

    def _expanded(self, call: Call, x: Dims) -> Dims:
        """A dimension that is made by repeating may have any size that its partners have."""
        new = len(call.shape) - len(x)
        padded = [*call.algebra.dims([1] * new), *x]
        return [
            d if call.algebra.size(d) == n else call.algebra.dims([n])[0]
            for d, n in zip(padded, call.shape, strict=True)
        ]

    def _repeated(self, call: Call, x: Dims) -> Dims:
        times = call["repeats"]
        padded = [*call.algebra.dims([1] * (len(times) - len(x))), *x]
        found = []
        for dim, n in zip(padded, times, strict=True):
            whole = call.algebra.product([*call.algebra.dims([n]), dim]) if n != 1 else dim
            found.append(call.fixed([n * call.algebra.size(dim)], "it is repeated")[0] if whole is None else whole)
        return found


def reshaped(call: Call, x: Dims, shape: Sequence[int]) -> Dims:
    """The dimensions of ``x`` viewed as ``shape``: neighbours that cover the same positions are matched."""
    algebra, found = call.algebra, []
    sizes = [algebra.size(d) for d in x]
    i = j = 0
    while i < len(x) or j < len(shape):
        left, right = sizes[i : i + 1], list(shape[j : j + 1])
        a, b = i + len(left), j + len(right)
        while prod(left) != prod(right):
            if prod(left) < prod(right) or b >= len(shape):
                if a >= len(x):
                    return call.fixed(shape, "a reshape that cannot be followed")
                left.append(sizes[a])
                a += 1
            else:
                right.append(shape[b])
                b += 1
        if len(left) == len(right) == 1:
            found.append(x[i])
        else:
            whole = algebra.product([d for d in x[i:a] if algebra.size(d) != 1])
            parts = None if whole is None else algebra.split(whole, right)
            if parts is None:
                call.freeze(x[i:a], "a reshape cuts it inside one of its parts")
                parts = call.fixed(right, "a reshape cuts it inside one of its parts")
            found.extend(parts)
        i, j = a, b
    return found
