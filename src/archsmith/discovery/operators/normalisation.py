"""Normalisation, softmax and reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from archsmith.discovery.operators.base import Call, Dims, Operators
from archsmith.method import OURS


@final
class Normalisation(Operators):
    """Batch, layer, RMS and group normalisation: affine weights follow what they scale.

    Layer, RMS and group norms span what they average over. The channels of a group norm are its groups times the
    channels of a group.
    """

    paper = OURS
    names = frozenset(
        {
            *("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"),
            *("cudnn_batch_norm", "_batch_norm_no_update", "batch_norm", "_batch_norm_with_update"),
            *("native_layer_norm", "_fused_rms_norm", "native_group_norm", "instance_norm", "_weight_norm_interface"),
        }
    )

    def apply(self, call: Call) -> Sequence[Dims]:
        if call.name == "_weight_norm_interface":
            return self._weight_norm(call)
        x = call.dims(call["input"])
        affine = [
            call.dims(call.arguments[n])
            for n in ("weight", "bias", "running_mean", "running_var")
            if call.arguments.get(n) is not None
        ]
        if "batch_norm" in call.name:
            for dims in affine:
                call.algebra.unify(x[1], dims[0])
            if call.arguments.get("running_mean") is None:
                for dim in (*x[:1], *x[2:]):
                    call.algebra.span(dim)
            return self._with_statistics(call, x)
        if call.name == "native_group_norm":
            return self._group_norm(call, x, affine)
        last = len(call["normalized_shape"])
        for dims in affine:
            call.broadcast(x[-last:], dims)
        for dim in x[-last:]:
            call.algebra.span(dim)
        return self._with_statistics(call, x)

    def _weight_norm(self, call: Call) -> Sequence[Dims]:
        """Directions of length one along all dimensions but one, times lengths."""
        directions, lengths = call.dims(call["v"]), call.dims(call["g"])
        out = call.broadcast(directions, lengths)
        for i, dim in enumerate(directions):
            if i != call["dim"] % len(directions):
                call.algebra.span(dim)
        return self._with_statistics(call, out)

    def _group_norm(self, call: Call, x: Dims, affine: Sequence[Dims]) -> Sequence[Dims]:
        for dims in affine:
            call.algebra.unify(x[1], dims[0])
        groups = call["group"]
        parts = call.algebra.split(x[1], (groups, call.algebra.size(x[1]) // groups))
        if parts is None:
            call.freeze([x[1]], "groups that are not contiguous")
        else:
            call.algebra.span(parts[1])
        return self._with_statistics(call, x)

    def _with_statistics(self, call: Call, x: Dims) -> Sequence[Dims]:
        """The output has the dimensions of the input; in inference nothing reads the means and deviations."""
        return [x, *(call.fixed(o.shape, "statistics of a norm") for o in call.outputs[1:])]
