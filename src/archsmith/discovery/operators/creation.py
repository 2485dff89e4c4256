"""Operators that make tensors out of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from archsmith.discovery.operators.base import Call, Dims, Operators
from archsmith.method import OURS


@final
class Creation(Operators):
    """Constants and noise: their sizes are numbers in the code, which may follow the dimensions that they meet."""

    paper = OURS
    names = frozenset(
        {
            *("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty", "rand", "randn"),
            *("arange", "linspace", "eye", "scalar_tensor", "empty_strided", "new_empty_strided", "tril_indices"),
            "triu_indices",
        }
    )
    _positions = frozenset({"arange", "linspace", "eye", "tril_indices", "triu_indices"})

    def apply(self, call: Call) -> Sequence[Dims]:
        reason = "it numbers positions" if call.name in self._positions else ""
        return [call.algebra.dims(call.shape, reason)]
