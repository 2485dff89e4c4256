"""Sums, means, extremes, softmax: operators that run along dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from archsmith.discovery.operators.base import Call, Dims, Operators, axis
from archsmith.method import OURS


@final
class Reductions(Operators):
    """Operators that combine the units of a dimension, in whatever order they come.

    Zeros do not change a sum; every other operator spans the dimensions that it runs along.
    """

    paper = OURS
    names = frozenset(
        {
            *("mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod", "logsumexp"),
            *("linalg_vector_norm", "norm", "any", "all", "nansum", "_softmax", "_log_softmax", "softmax"),
            *("_safe_softmax", "log_softmax", "argmax", "argmin", "cumsum", "cumprod", "logcumsumexp"),
        }
    )

    def apply(self, call: Call) -> Sequence[Dims]:
        x = call.dims(call.tensors[0])
        rank = len(x)
        given = call.arguments.get("dim")
        along = range(rank) if given is None or given == [] else [given] if isinstance(given, int) else given
        where = {axis(d, rank) for d in along}
        if "cum" in call.name:
            call.freeze([x[i] for i in where], "a running sum depends on positions")
            return [x]
        for i in where:
            if call.name not in ("sum", "nansum"):
                call.algebra.span(x[i])
            if call.name in ("argmax", "argmin", "max", "min") and len(call.outputs) + call.name.startswith("arg") > 1:
                call.freeze([x[i]], f"{call.name} returns positions in it")
        if "softmax" in call.name:
            return [x]
        keep = call.outputs[0].ndim == rank and rank > 0
        one = call.algebra.dims([1])[0]
        found = [one if i in where else d for i, d in enumerate(x) if keep or i not in where]
        return [found] * len(call.outputs)
