"""A module whose output is weighted against its stand-in or zeros."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from archsmith.structure.blocks import Passing
from archsmith.structure.passing import given_at, standing_in, with_stream


class Weighted:
    """A module's ``forward`` that returns ``weight * output``, plus ``(1 - weight) * input`` where that passes through.

    Args:
        forward: of the module.
        weight: a scalar.
        passed: place of the input that gets the remaining weight, and the stand-in for the whole output; ``None`` where
            zeros get the remaining weight.
    """

    def __init__(self, forward: Callable[..., Any], weight: Tensor, passed: Passing | None = None) -> None:
        self._forward, self._weight, self._passed = forward, weight, passed

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._passed is None:
            return with_stream(self._forward(*args, **kwargs), lambda y: y * self._weight.to(y))
        place, stand_in = self._passed
        stream = given_at(place, args, kwargs).clone()  # some blocks write into what they are given
        handed = standing_in(place, stand_in, lambda _: stream)(*args, **kwargs)
        return self._mixed(self._forward(*args, **kwargs), handed)

    def _mixed(self, output: Any, handed: Any) -> Any:
        """Every tensor of an output mixed with its stand-in's; objects that are in both stay as they are."""
        if type(output) in (tuple, list):
            return type(output)(self._mixed(y, x) for y, x in zip(output, handed, strict=True))
        if not isinstance(output, Tensor) or not isinstance(handed, Tensor) or output is handed:
            return output
        return output * self._weight.to(output) + handed * (1 - self._weight).to(output)
