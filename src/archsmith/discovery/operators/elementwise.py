"""Operators that treat every position alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from archsmith.discovery.operators.base import Call, Dims, Operators
from archsmith.method import OURS


@final
class Elementwise(Operators):
    """Arithmetic, activations, masks, copies and casts: broadcast dimensions are equal.

    Any operator that torch itself marks as pointwise belongs to this family, whatever its name.
    """

    paper = OURS
    names = frozenset(
        {
            *("clone", "_to_copy", "detach", "alias", "lift_fresh", "lift_fresh_copy", "contiguous", "copy_", "copy"),
            *("native_dropout", "dropout", "bernoulli", "rand_like", "randn_like", "zeros_like", "ones_like"),
            *("full_like", "empty_like", "masked_fill", "masked_fill_", "fill_", "zero_", "where", "bernoulli_"),
            *("_conj", "resolve_conj", "uniform_", "normal_", "fill", "triu", "tril", "addcmul", "addcdiv", "lerp"),
            *("_prelu_kernel", "rrelu_with_noise", "polar", "complex", "atan2", "hardswish"),
        }
    )

    def apply(self, call: Call) -> Sequence[Dims]:
        dims = call.broadcast(*(call.dims(t) for t in call.tensors))
        if call.name in ("triu", "tril"):
            call.freeze(dims[-2:], f"{call.name} depends on positions")
        return [dims[-output.ndim :] if output.ndim else [] for output in call.outputs]
