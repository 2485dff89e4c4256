"""Order the units of an atom by importance, once, so that every prefix keeps the most important ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from archsmith.errors import InvalidOption
from archsmith.running.calibration import batch_of
from archsmith.structure.axes import Axis, Width
from archsmith.structure.rules.base import Declared
from archsmith.structure.units import reached, reorder

Importance = Literal["l1", "taylor"]


def sort_units(
    model: nn.Module,
    declared: Mapping[str, Declared],
    widths: Sequence[Width],
    *,
    by: Importance = "l1",
    batches: Iterable[Any] = (),
    loss: Callable[[Any, Any], Tensor] | None = None,
) -> None:
    """Put the units of every atom in the order of their importance; the outputs stay as they are, up to rounding.

    Args:
        model: changed in place.
        declared: axes of its modules.
        widths: the atoms.
        by: ``"l1"``, the sum of absolute weights over all tensors that a unit is in (Li et al. 2017, summed over the
            coupled tensors), or ``"taylor"``, the absolute change of the loss that a first-order expansion predicts
            when the unit is removed (Molchanov et al. 2019).
        batches: for ``"taylor"``: pairs ``(inputs, targets)``; a few are enough.
        loss: for ``"taylor"``: of outputs and targets, a scalar.

    Raises:
        InvalidOption: for another measure, or ``"taylor"`` without batches and loss.
    """
    if by not in get_args(Importance):
        raise InvalidOption(f"importance is one of {', '.join(get_args(Importance))}, or None; got {by!r}")
    given = list(batches)
    values: Callable[[Tensor], Tensor | None] = _magnitudes
    if by == "taylor":
        if not given or loss is None:
            raise InvalidOption("importance='taylor' needs batches=[(inputs, targets), ...] and loss=function")
        values = _taylor_values(model, given, loss)
    kept = _lasting(model)
    movable = [
        w for w in widths if all(id(t) in kept and t.device.type != "meta" for t, _, _ in reached(model, declared, [w]))
    ]
    scores = {w: np.zeros(w.full) for w in movable}
    for width in movable:
        places = list(reached(model, declared, [width]))
        matrices = [place for place in places if place[0].ndim > 1] or places
        for tensor, dim, axis in matrices:
            value = values(tensor)
            if value is not None:
                each = value.movedim(dim, 0).flatten(1).sum(1) if value.ndim > 1 else value
                scores[width] += np.abs(_per_unit(axis, width, each.double().cpu().numpy()))
    orders = {w: np.argsort(-score, kind="stable") for w, score in scores.items()}
    reorder(model, declared, orders)


def _lasting(model: nn.Module) -> set[int]:
    """Tensors that a checkpoint holds; in other tensors a new order would be lost on loading."""
    return {id(t) for t in model.state_dict(keep_vars=True).values()}


def _magnitudes(tensor: Tensor) -> Tensor | None:
    return tensor.detach().abs() if tensor.is_floating_point() else None


def _taylor_values(
    model: nn.Module, batches: Sequence[Any], loss: Callable[[Any, Any], Tensor]
) -> Callable[[Tensor], Tensor | None]:
    """Weight times gradient of the mean loss; gradients and modes of the model stay as they are."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    sums = [torch.zeros_like(p) for p in parameters]
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        for item in batches:
            batch = batch_of(item)
            value = loss(model(*batch.inputs, **batch.keywords), item[1])
            for total, grad in zip(sums, torch.autograd.grad(value, parameters, allow_unused=True), strict=True):
                if grad is not None:
                    total.add_(grad, alpha=1 / len(batches))
    finally:
        for module, mode in modes:
            module.training = mode
    found = {id(p): p.detach() * s for p, s in zip(parameters, sums, strict=True)}
    return lambda tensor: found.get(id(tensor))


def _per_unit(axis: Axis, width: Width, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values along an axis ``(axis.full,)`` summed into those of the units ``(width.full,)``."""
    total, start = np.zeros(width.full), 0
    for segment in axis.segments:
        shape = [f if isinstance(f, int) else f.full for f in segment]
        part = values[start : start + prod(shape)].reshape(shape)
        for i, factor in enumerate(segment):
            if factor == width:
                total += part.sum(axis=tuple(j for j in range(len(shape)) if j != i))
        start += prod(shape)
    return total
