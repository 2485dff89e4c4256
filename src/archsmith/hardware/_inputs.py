"""Example inputs at another batch size."""

from __future__ import annotations

from typing import Any

from archsmith.errors import InvalidOption


def resized(inputs: tuple[Any, ...], batch: int) -> tuple[Any, ...]:
    """``inputs`` with ``batch`` items: repeated from the first on, or cut.

    Only tensors whose first dimension is that of the first tensor have a batch; everything else stays.

    Raises:
        InvalidOption: when there is no tensor with a batch dimension.
    """
    import torch

    if not isinstance(inputs, tuple):
        raise InvalidOption(f"example inputs are a tuple of tensors, got {type(inputs).__name__}; write (x,)")
    sizes = [x.shape[0] for x in inputs if isinstance(x, torch.Tensor) and x.ndim > 0]
    if not sizes or sizes[0] == 0:
        raise InvalidOption("example inputs need a tensor whose first dimension is the batch, with one item at least")
    items = torch.arange(batch) % sizes[0]
    return tuple(
        x[items.to(x.device)] if isinstance(x, torch.Tensor) and x.ndim > 0 and x.shape[0] == sizes[0] else x
        for x in inputs
    )
