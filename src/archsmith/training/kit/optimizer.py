"""Optimisers, the schedule of their learning rate, and their state as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from archsmith.errors import DamagedFile, InvalidOption, number, unknown

DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "adamw": {"lr": 3e-3, "weight_decay": 0.01},
    "sgd": {"lr": 0.05, "weight_decay": 5e-4},
}
"""Learning rate and weight decay where the user gives none."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Linear warm-up, then a cosine down to zero: a pure function of the step.

    Args:
        lr: at the end of the warm-up.
        warmup: steps.
        steps: in all.
    """

    lr: float
    warmup: int
    steps: int

    def at(self, step: int) -> float:
        """Learning rate of step ``step``, from 0."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))


def check_rates(optimizer: str, lr: float | None, weight_decay: float | None) -> tuple[float, float]:
    """Learning rate and weight decay, the optimiser's own defaults where they are ``None``.

    Raises:
        UnknownName: for another optimiser.
        InvalidOption: for rates out of range.
    """
    if optimizer not in DEFAULTS:
        raise unknown("optimizer", optimizer, DEFAULTS)
    for name, rate in (("lr", lr), ("weight_decay", weight_decay)):
        if rate is not None:
            number(name, rate)
    found = DEFAULTS[optimizer]["lr"] if lr is None else float(lr)
    decay = DEFAULTS[optimizer]["weight_decay"] if weight_decay is None else float(weight_decay)
    if not 0 < found < math.inf:
        raise InvalidOption(f"lr must be above 0, got {found}")
    if not 0 <= decay < math.inf:
        raise InvalidOption(f"weight_decay must be 0 or more, got {decay}")
    return found, decay


def build(optimizer: str, module: nn.Module, *, weight_decay: float) -> torch.optim.Optimizer:
    """The optimiser of all parameters that are learned; biases and the scales of norms do not decay."""
    learned = [p for p in module.parameters() if p.requires_grad]
    if not learned:
        raise InvalidOption("no parameter of the supernet is learned: every requires_grad is False")
    groups = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if optimizer == "adamw":
        # one pass over the weights instead of a dozen: on a processor a tenth of the time of a step
        fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in learned)
        return torch.optim.AdamW(groups, fused=fused or None)
    return torch.optim.SGD(groups, lr=DEFAULTS["sgd"]["lr"], momentum=0.9, nesterov=True)


def state_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of every parameter, as ``POSITION.NAME`` -> tensor."""
    state: Mapping[int, Mapping[str, Any]] = optimizer.state_dict()["state"]
    return {f"{i}.{k}": v for i, s in state.items() for k, v in s.items() if isinstance(v, Tensor)}


def load_state_tensors(optimizer: torch.optim.Optimizer, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """The inverse of :func:`state_tensors`.

    Raises:
        DamagedFile: when the tensors are those of another optimiser.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors:
        position, _, key = name.partition(".")
        state.setdefault(int(position), {})[key] = tensor
    try:
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    except (ValueError, KeyError) as error:
        raise DamagedFile(f"the checkpoint's optimiser state does not fit: {error}") from error
