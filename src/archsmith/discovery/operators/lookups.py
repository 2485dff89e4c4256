"""Operators that address positions by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from torch import Tensor

from archsmith.discovery.operators.base import Call, Dims, Operators, axis
from archsmith.method import OURS

ADDRESSED = "its positions are addressed by number"


@final
class Lookups(Operators):
    """Embeddings, gathers and scatters: the addressed dimension is fixed, the others may vary."""

    paper = OURS
    names = frozenset({"embedding", "index", "index_select", "gather", "index_put", "index_put_", "take_along_dim"})
    names |= {"scatter_add", "scatter_add_", "index_add", "index_add_", "scatter_reduce", "index_copy", "scatter"}

    def apply(self, call: Call) -> Sequence[Dims]:
        if call.name == "embedding":
            weight, indices = call.dims(call["weight"]), call.dims(call["indices"])
            call.freeze(weight[:1], ADDRESSED)
            return [[*indices, weight[1]]]
        x = call.dims(call.tensors[0])
        if call.name == "index":
            return [self._indexed(call, x, call["indices"])]
        if call.name.startswith("index_put"):
            given = [i for i, t in enumerate(call["indices"]) if isinstance(t, Tensor)]
            call.freeze([x[i] for i in given], ADDRESSED)
            return [x]
        where = axis(call["dim"], len(x))
        if call.name == "index_select":
            call.freeze([x[where]], ADDRESSED)
            return [[*x[:where], *call.fixed([call.shape[where]], ADDRESSED), *x[where + 1 :]]]
        return self._along(call, x, where)

    def _along(self, call: Call, x: Dims, where: int) -> Sequence[Dims]:
        """Gather and scatter: equal dimensions aside from the one that is addressed."""
        call.freeze([x[where]], ADDRESSED)
        for tensor in call.tensors[1:]:
            dims = call.dims(tensor)
            if len(dims) != len(x):
                continue
            call.freeze([dims[where]], ADDRESSED)
            for i, (ours, theirs) in enumerate(zip(x, dims, strict=True)):
                if i != where and call.algebra.size(ours) == call.algebra.size(theirs):
                    call.algebra.unify(ours, theirs)
                elif i != where:
                    call.freeze([ours, theirs], ADDRESSED)
        out = list(x)
        if call.name in ("gather", "take_along_dim"):
            out[where] = call.fixed([call.shape[where]], ADDRESSED)[0]
        return [out]

    def _indexed(self, call: Call, x: Dims, indices: Sequence[Any]) -> Dims:
        given = [i for i, t in enumerate(indices) if isinstance(t, Tensor)]
        call.freeze([x[i] for i in given], ADDRESSED)
        if any(t.dtype.itemsize == 1 for t in indices if isinstance(t, Tensor)):
            return []  # masks: how many positions come out depends on values
        common = call.broadcast(*(call.dims(indices[i]) for i in given))
        rest = [(i, d) for i, d in enumerate(x) if i not in given]
        together = given == list(range(given[0], given[-1] + 1))
        if not together:
            return [*common, *(d for _, d in rest)]
        return [*(d for i, d in rest if i < given[0]), *common, *(d for i, d in rest if i > given[0])]
