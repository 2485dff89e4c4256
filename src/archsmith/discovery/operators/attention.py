"""Fused scaled dot-product attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from archsmith.discovery.operators.base import Call, Dims, Operators
from archsmith.method import OURS


@final
class Attention(Operators):
    """Attention kernels: queries and keys share heads and head size, keys and values share positions."""

    paper = OURS
    names = frozenset(
        {
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_fused_attention_overrideable",
            "_scaled_dot_product_attention_math",
            "scaled_dot_product_attention",
        }
    )

    def apply(self, call: Call) -> Sequence[Dims]:
        query, key, value = (call.dims(call[n]) for n in ("query", "key", "value"))
        for other in (key, value):
            for i in range(len(query) - 2):
                call.algebra.unify(query[i], other[i])
        call.algebra.unify(query[-1], key[-1])
        call.algebra.unify(key[-2], value[-2])
        call.algebra.span(query[-1])
        call.algebra.span(key[-2])
        out = [*query[:-1], value[-1]]
        return [out, *(call.fixed(o.shape, "a by-product of attention") for o in call.outputs[1:])]
