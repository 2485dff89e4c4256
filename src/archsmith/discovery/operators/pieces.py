"""Operators that take tensors apart and put them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from archsmith.discovery.dimensions import Dim
from archsmith.discovery.operators.base import Call, Dims, Operators, axis
from archsmith.method import OURS

PICKED = "single positions of it are picked"


@final
class Pieces(Operators):
    """Slices, splits, concatenation, stacking, repetition: dimensions are joined as segments, or cut into segments."""

    paper = OURS
    names = frozenset(
        {
            *("slice", "select", "split", "split_with_sizes", "unbind", "cat", "stack", "chunk", "narrow", "hstack"),
            *(
                "repeat_interleave",
                "constant_pad_nd",
                "glu",
                "unsafe_split",
                "unsafe_chunk",
                "split_copy",
                "slice_copy",
            ),
            *("roll", "flip", "select_copy", "unbind_copy", "split_with_sizes_copy", "slice_scatter", "select_scatter"),
            *("channel_shuffle", "native_channel_shuffle"),
        }
    )

    def apply(self, call: Call) -> Sequence[Dims]:
        name = call.name.removesuffix("_copy").removeprefix("unsafe_")
        if name in ("cat", "stack", "hstack"):
            return [self._joined(call, stacked=name == "stack")]
        x = call.dims(call.tensors[0])
        where = axis(call.arguments.get("dim", 0) or 0, len(x))
        handlers = {
            "constant_pad_nd": self._padded,
            "roll": self._moved,
            "flip": self._moved,
            "slice_scatter": self._written,
            "select_scatter": self._written,
            "select": self._picked,
            "unbind": self._picked,
            "slice": self._sliced,
            "glu": self._gated,
            "repeat_interleave": self._interleaved,
            "channel_shuffle": self._shuffled,
            "native_channel_shuffle": self._shuffled,
        }
        return handlers.get(name, self._split)(call, x, where)

    def _moved(self, call: Call, x: Dims, _where: int) -> Sequence[Dims]:
        given = call["dims"] or range(len(x))
        call.freeze([x[axis(d, len(x))] for d in given], f"{call.name} depends on positions")
        return [x]

    def _shuffled(self, call: Call, x: Dims, _where: int) -> Sequence[Dims]:
        """Groups of channels change places with the channels of a group."""
        size, groups = call.algebra.size(x[1]), call["groups"]
        parts = call.algebra.split(x[1], (groups, size // groups))
        whole = None if parts is None else call.algebra.product(parts[::-1])
        return [] if whole is None else [[x[0], whole, *x[2:]]]

    def _written(self, call: Call, x: Dims, where: int) -> Sequence[Dims]:
        call.freeze([x[where]], PICKED)
        return [x]

    def _picked(self, call: Call, x: Dims, where: int) -> Sequence[Dims]:
        call.freeze([x[where]], PICKED)
        return [[*x[:where], *x[where + 1 :]]] * len(call.outputs)

    def _joined(self, call: Call, *, stacked: bool) -> Dims:
        parts = [call.dims(t) for t in call["tensors"] if t.numel() or t.ndim > 1]
        rank = len(parts[0])
        if stacked:
            common = call.broadcast(*parts)
            where = axis(call.arguments.get("dim") or 0, rank + 1)
            new = call.fixed([len(parts)], "it counts tensors that are stacked")
            return [*common[:where], *new, *common[where:]]
        where = axis(call.arguments.get("dim") or 0, rank)
        for i in range(rank):
            if i != where:
                for other in parts[1:]:
                    call.algebra.unify(parts[0][i], other[i])
        joined: Dim = [segment for dims in parts for segment in dims[where]]
        return [*parts[0][:where], joined, *parts[0][where + 1 :]]

    def _sliced(self, call: Call, x: Dims, where: int) -> Sequence[Dims]:
        size = call.algebra.size(x[where])
        start, stop, step = (call.arguments.get(n) for n in ("start", "end", "step"))
        start = min(max((start or 0) + (size if (start or 0) < 0 else 0), 0), size)
        stop = size if stop is None else min(max(stop + (size if stop < 0 else 0), 0), size)
        step = step or 1
        if step == 1 and start == 0 and stop == size:
            return [x]
        part = None
        if step == 1 and start < stop:
            part = call.algebra.part(x[where], start, stop)
        elif size % step == 0 and start < step and call.shape[where] == size // step:
            part = self._every(call, x[where], step)
        if part is None:
            call.freeze([x[where]], "a slice cuts it inside one of its parts")
            part = call.fixed([call.shape[where]], "a slice cuts it inside one of its parts")[0]
        return [[*x[:where], part, *x[where + 1 :]]]

    def _every(self, call: Call, dim: Dim, step: int) -> Dim | None:
        """One position of every ``step``: the sliced dimension is a product that ends with the step."""
        parts = call.algebra.split(dim, (call.algebra.size(dim) // step, step))
        if parts is None:
            return None
        call.freeze(parts[1:], PICKED)
        return parts[0]

    def _split(self, call: Call, x: Dims, where: int) -> Sequence[Dims]:
        found, start = [], 0
        for output in call.outputs:
            stop = start + output.shape[where]
            part = call.algebra.part(x[where], start, stop)
            if part is None:
                call.freeze([x[where]], "it is split inside one of its parts")
                part = call.fixed([stop - start], "it is split inside one of its parts")[0]
            found.append([*x[:where], part, *x[where + 1 :]])
            start = stop
        return found

    def _gated(self, call: Call, x: Dims, where: int) -> Sequence[Dims]:
        half = call.algebra.size(x[where]) // 2
        value, gate = (call.algebra.part(x[where], i * half, (i + 1) * half) for i in range(2))
        if value is None or gate is None:
            return []
        call.algebra.unify(value, gate)
        return [[*x[:where], value, *x[where + 1 :]]]

    def _interleaved(self, call: Call, x: Dims, where: int) -> Sequence[Dims]:
        if not isinstance(call.arguments.get("repeats"), int) or call.arguments.get("dim") is None:
            return []
        whole = call.algebra.product([x[where], *call.algebra.dims([call["repeats"]])])
        return [] if whole is None else [[*x[:where], whole, *x[where + 1 :]]]

    def _padded(self, call: Call, x: Dims, _where: int) -> Sequence[Dims]:
        """Zeros before and behind are segments of their own."""
        pad, found = list(call["pad"]), list(x)
        for i in range(len(pad) // 2):
            before, behind, dim = pad[2 * i], pad[2 * i + 1], len(x) - 1 - i
            if before < 0 or behind < 0:
                call.freeze([x[dim]], "it is cropped")
                found[dim] = call.fixed([call.shape[dim]], "it is cropped")[0]
            elif before or behind:
                edges = [call.algebra.new(n, frozen="padding") if n else [] for n in (before, behind)]
                found[dim] = [*edges[0], *x[dim], *edges[1]]
        return [found]
