"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from archsmith.discovery.operators.base import Call, Dims, Operators
from archsmith.method import OURS


@final
class MatrixProducts(Operators):
    """Products of matrices and batches of them: the inner dimensions are equal and vanish."""

    paper = OURS
    names = frozenset({"mm", "addmm", "bmm", "baddbmm", "mv", "dot", "addmv", "linear", "addbmm"})

    def apply(self, call: Call) -> Sequence[Dims]:
        if call.name == "linear":
            x, weight = call.dims(call["input"]), call.dims(call["weight"])
            call.algebra.unify(x[-1], weight[1])
            out = [*x[:-1], weight[0]]
            return [call.broadcast(out, call.dims(call["bias"])) if call["bias"] is not None else out]
        tensors = call.tensors
        left, right = (call.dims(t) for t in tensors[-2:])
        if call.name == "dot":
            call.algebra.unify(left[0], right[0])
            return [[]]
        inner = right[-2] if len(right) > 1 else right[0]
        call.algebra.unify(left[-1], inner)
        out = [*left[:-1], *right[-1:]] if len(right) > 1 else [*left[:-1]]
        if len(left) == 3:
            call.algebra.unify(left[0], right[0])
        if call.name == "addbmm":
            out = out[1:]
        if len(tensors) == 3:
            out = call.broadcast(out, call.dims(tensors[0]))
        return [out]
