"""Example inputs at another batch size, or with other values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import InvalidOption


def batch_size(inputs: tuple[Any, ...]) -> int:
    """Items of one call: the first dimension of the first tensor.

    Raises:
        InvalidOption: when there is no tensor with a batch dimension.
    """
    if not isinstance(inputs, tuple):
        raise InvalidOption(f"example inputs are a tuple of tensors, got {type(inputs).__name__}; write (x,)")
    sizes = [x.shape[0] for x in inputs if is_array(x) and x.ndim > 0]
    if not sizes or sizes[0] == 0:
        raise InvalidOption("example inputs need a tensor whose first dimension is the batch, with one item at least")
    return int(sizes[0])


def is_array(x: Any) -> bool:
    """Whether ``x`` is a torch tensor or a NumPy array; torch is not needed to tell."""
    return isinstance(x, np.ndarray) or (hasattr(x, "detach") and hasattr(x, "ndim"))


def as_arrays(inputs: tuple[Any, ...]) -> list[NDArray[Any]]:
    """The tensors and arrays among ``inputs`` as NumPy arrays, in order."""
    return [x.detach().cpu().numpy() if hasattr(x, "detach") else x for x in inputs if is_array(x)]


def has_batch(x: Any, size: int) -> bool:
    """Whether ``x`` is a tensor or an array with ``size`` items along its first dimension."""
    return is_array(x) and x.ndim > 0 and bool(x.shape[0] == size)


def resized(inputs: tuple[Any, ...], batch: int) -> tuple[Any, ...]:
    """``inputs`` with ``batch`` items: repeated from the first on, or cut.

    Tensors stay tensors and arrays arrays. Only those whose first dimension is that of the first tensor have a batch;
    everything else stays.

    Raises:
        InvalidOption: when there is no tensor with a batch dimension.
    """
    size = batch_size(inputs)
    items = np.arange(batch) % size
    return tuple(x[items] if has_batch(x, size) else x for x in inputs)


def some_of(inputs: tuple[Any, ...], start: int, count: int) -> tuple[Any, ...]:
    """``inputs`` with up to ``count`` items from ``start`` on; inputs without a batch stay."""
    size = batch_size(inputs)
    return tuple(x[start : start + count] if has_batch(x, size) else x for x in inputs)


def random_like(inputs: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    """Standard normal values in place of every floating-point tensor, the same on every machine; the rest stays."""
    import torch

    rng = np.random.default_rng(seed)

    def drawn(x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or not x.is_floating_point():
            return x
        return torch.from_numpy(rng.standard_normal(tuple(x.shape))).to(x.dtype)

    return tuple(drawn(x) for x in inputs)
