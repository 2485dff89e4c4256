"""Convolutions of any number of spatial dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from archsmith.discovery.dimensions import Dim
from archsmith.discovery.operators.base import Call, Dims, Operators
from archsmith.method import OURS

SPATIAL = "a convolution runs along it"


@final
class Convolutions(Operators):
    """Plain, grouped, depthwise and transposed convolutions.

    With groups both sides are a product that begins with the groups; the channels of a group vary apart from the number
    of groups.
    """

    paper = OURS
    names = frozenset({"convolution", "_convolution", "mkldnn_convolution", "convolution_overrideable"})

    def apply(self, call: Call) -> Sequence[Dims]:
        x, weight = call.dims(call["input"]), call.dims(call["weight"])
        groups, transposed = call["groups"], call["transposed"]
        batch = x[: len(x) - len(weight) + 1]
        channels = x[len(batch)]
        positions = self._positions(call, x[len(batch) + 1 :], weight[2:])
        if transposed:
            out = self._transposed(call, channels, weight, groups)
        else:
            out = self._plain(call, channels, weight, groups)
        if call["bias"] is not None:
            call.algebra.unify(out, call.dims(call["bias"])[0])
        return [[*batch, out, *positions]]

    def _positions(self, call: Call, given: Dims, kernel: Dims) -> Dims:
        """A window of one position with stride one keeps the positions."""
        found = []
        for i, (dim, window) in enumerate(zip(given, kernel, strict=True)):
            step, pad = (v[i] if len(v) > 1 else v[0] for v in (call["stride"], call["padding"]))
            if call.algebra.size(window) == 1 and step == 1 and pad == 0 and not any(call["output_padding"]):
                found.append(dim)
            else:
                call.freeze([dim, window], SPATIAL)
                found.extend(call.fixed([call.shape[len(call.shape) - len(given) + i]], SPATIAL))
        return found

    def _plain(self, call: Call, channels: Dim, weight: Dims, groups: int) -> Dim:
        if groups == 1:
            call.algebra.unify(channels, weight[1])
            return weight[0]
        product = call.algebra.split(weight[0], (groups, call.algebra.size(weight[0]) // groups))
        if product is None:
            call.freeze([channels, *weight[:2]], "groups that are not contiguous")
            return weight[0]
        both = call.algebra.product([product[0], weight[1]])
        if both is None:
            call.freeze([channels, *weight[:2]], "groups of a concatenation")
        else:
            call.algebra.unify(channels, both)
        return weight[0]

    def _transposed(self, call: Call, channels: Dim, weight: Dims, groups: int) -> Dim:
        call.algebra.unify(channels, weight[0])
        if groups == 1:
            return weight[1]
        product = call.algebra.split(weight[0], (groups, call.algebra.size(weight[0]) // groups))
        out = None if product is None else call.algebra.product([product[0], weight[1]])
        if out is None:
            call.freeze([channels, *weight[:2]], "groups of a concatenation")
            return call.fixed([groups * call.algebra.size(weight[1])], "groups of a concatenation")[0]
        return out
