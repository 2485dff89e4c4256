"""Reorder or zero the units of an atom in all tensors that it reaches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from archsmith.structure.axes import Axis, Width
from archsmith.structure.rules.base import Declared


def reorder(model: nn.Module, declared: Mapping[str, Declared], orders: Mapping[Width, NDArray[np.int64]]) -> None:
    """Put units in another order, in every tensor that an atom reaches: the outputs stay as they are.

    Args:
        model: changed in place.
        declared: axes of its modules.
        orders: atom -> its units, ``(full,)``, in their new order.
    """
    with torch.no_grad():
        for tensor, dim, axis in reached(model, declared, list(orders)):
            where = torch.from_numpy(_positions(axis, orders)).to(tensor.device)
            tensor.copy_(tensor.index_select(dim, where))


def zero_dropped(model: nn.Module, declared: Mapping[str, Declared], kept: Mapping[Width, int]) -> None:
    """Zero, in every tensor, the units of some atoms that a smaller option leaves out.

    Args:
        model: changed in place.
        declared: axes of its modules.
        kept: atom -> units that stay.
    """
    with torch.no_grad():
        for tensor, dim, axis in reached(model, declared, list(kept)):
            alive = np.concatenate([_alive(segment, kept) for segment in axis.segments])
            tensor.index_fill_(dim, torch.from_numpy(np.flatnonzero(~alive)).to(tensor.device), 0)


def reached(
    model: nn.Module, declared: Mapping[str, Declared], widths: Sequence[Width]
) -> Iterator[tuple[Tensor, int, Axis]]:
    """Every tensor and dimension that one of the atoms is in; tensors that modules share come once."""
    wanted, seen = set(widths), set()
    for name, here in declared.items():
        module = model.get_submodule(name)
        for short, axes in here.tensors.items():
            tensor: Tensor = module._parameters.get(short, module._buffers.get(short))  # type: ignore[assignment]
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            for dim, axis in enumerate(axes):
                if axis is not None and wanted.intersection(axis.widths):
                    yield tensor, dim, axis


def _positions(axis: Axis, orders: Mapping[Width, NDArray[np.int64]]) -> NDArray[np.int64]:
    found, start = [], 0
    for segment in axis.segments:
        shape = [f if isinstance(f, int) else f.full for f in segment]
        where = np.arange(start, start + prod(shape)).reshape(shape)
        for i, factor in enumerate(segment):
            if isinstance(factor, Width) and factor in orders:
                where = where.take(orders[factor], axis=i)
        found.append(where.ravel())
        start += prod(shape)
    return np.concatenate(found)


def _alive(segment: Sequence[int | Width], kept: Mapping[Width, int]) -> NDArray[np.bool_]:
    alive = np.ones(1, dtype=bool)
    for factor in segment:
        size = factor if isinstance(factor, int) else factor.full
        stay = kept.get(factor, size) if isinstance(factor, Width) else size
        alive = (alive[:, None] & (np.arange(size) < stay)).ravel()
    return alive
