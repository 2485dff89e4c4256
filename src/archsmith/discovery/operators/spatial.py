"""Operators on maps: pooling, resizing, padding, unfolding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from archsmith.discovery.operators.base import Call, Dims, Operators
from archsmith.method import OURS

SPATIAL = "an operator on maps runs along it"


@final
class Spatial(Operators):
    """Pooling, interpolation and padding: channels pass, the dimensions after them are fixed."""

    paper = OURS
    names = frozenset(
        {
            *("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d", "avg_pool1d"),
            *("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
            *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "max_pool2d", "max_pool1d", "mkldnn_adaptive_avg_pool2d"),
            *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d"),
            *("upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d", "_upsample_bilinear2d_aa"),
            *("_upsample_bicubic2d_aa", "_upsample_nearest_exact2d", "_upsample_nearest_exact1d"),
            *("reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d", "replication_pad3d"),
            *(
                "im2col",
                "col2im",
                "pixel_shuffle",
                "pixel_unshuffle",
                "grid_sampler_2d",
                "_fft_r2c",
                "_fft_c2r",
                "_fft_c2c",
            ),
        }
    )

    def apply(self, call: Call) -> Sequence[Dims]:
        x = call.dims(call.tensors[0])
        if call.name in ("im2col", "col2im", "pixel_shuffle", "pixel_unshuffle"):
            return [self._unfolded(call, x)]
        if call.name == "grid_sampler_2d":
            call.freeze([*x[2:], *call.dims(call["grid"])], SPATIAL)
            return [[*x[:2], *call.fixed(call.shape[2:], SPATIAL)]]
        if call.name.startswith("_fft"):
            along = {d % len(x) for d in call["dim"]}
            call.freeze([x[i] for i in along], "a Fourier transform runs along it")
            return [
                [*(call.fixed([n], SPATIAL)[0] if i in along else x[i] for i, n in enumerate(call.shape))],
            ]
        spatial = next(n for n in (1, 2, 3) if f"{n}d" in call.name)
        kept = x[: len(x) - spatial]
        call.freeze(x[len(kept) :], SPATIAL)
        return [[*kept, *call.fixed(o.shape[len(kept) :], SPATIAL)] for o in call.outputs]

    def _unfolded(self, call: Call, x: Dims) -> Dims:
        """Channels times positions of a window, in this order; pixel shuffles take them apart again."""
        lead = len(x) - (2 if call.name == "col2im" else 3)
        call.freeze(x[lead + 1 :], SPATIAL)
        channels, spatial = x[lead], call.fixed(call.shape[lead + 1 :], SPATIAL)
        size, new = call.algebra.size(channels), call.shape[lead]
        if call.name in ("pixel_shuffle", "col2im"):
            parts = call.algebra.split(channels, (new, size // new))
            if parts is None:
                return []
            call.freeze(parts[1:], "it becomes pixels")
            return [*x[:lead], parts[0], *spatial]
        whole = call.algebra.product([channels, *call.fixed([new // size], "it was pixels")])
        return [] if whole is None else [*x[:lead], whole, *spatial]
