"""Example inputs at another batch size, or with other values."""

from __future__ import annotations

from typing import Any

import numpy as np

from archsmith.errors import InvalidOption


def batch_size(inputs: tuple[Any, ...]) -> int:
    """Items of one call: the first dimension of the first tensor.

    Raises:
        InvalidOption: when there is no tensor with a batch dimension.
    """
    import torch

    if not isinstance(inputs, tuple):
        raise InvalidOption(f"example inputs are a tuple of tensors, got {type(inputs).__name__}; write (x,)")
    sizes = [x.shape[0] for x in inputs if isinstance(x, torch.Tensor) and x.ndim > 0]
    if not sizes or sizes[0] == 0:
        raise InvalidOption("example inputs need a tensor whose first dimension is the batch, with one item at least")
    return int(sizes[0])


def has_batch(x: Any, size: int) -> bool:
    """Whether ``x`` is a tensor with ``size`` items along its first dimension."""
    import torch

    return isinstance(x, torch.Tensor) and x.ndim > 0 and x.shape[0] == size


def resized(inputs: tuple[Any, ...], batch: int) -> tuple[Any, ...]:
    """``inputs`` with ``batch`` items: repeated from the first on, or cut.

    Only tensors whose first dimension is that of the first tensor have a batch; everything else stays.

    Raises:
        InvalidOption: when there is no tensor with a batch dimension.
    """
    import torch

    size = batch_size(inputs)
    items = torch.arange(batch) % size
    return tuple(x[items.to(x.device)] if has_batch(x, size) else x for x in inputs)


def random_like(inputs: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    """Standard normal values in place of every floating-point tensor, the same on every machine; the rest stays."""
    import torch

    rng = np.random.default_rng(seed)

    def drawn(x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or not x.is_floating_point():
            return x
        return torch.from_numpy(rng.standard_normal(tuple(x.shape))).to(x.dtype)

    return tuple(drawn(x) for x in inputs)
