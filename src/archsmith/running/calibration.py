"""Batch-norm statistics of a subnet: a pure function of weights, architecture and recorded batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from archsmith.errors import InvalidData
from archsmith.running.shadow import Assignment, Program, Shadow
from archsmith.structure.calls import arguments, map_tensors
from archsmith.structure.structure import qualified

STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class CalibrationBatch:
    """The inputs of one call of the model."""

    inputs: tuple[Any, ...]
    keywords: Mapping[str, Any]


def batch_of(given: Any) -> CalibrationBatch:
    """The inputs in a batch: ``inputs`` or ``(inputs, targets)``; several inputs are a tuple, or a dict by name."""
    if isinstance(given, list | tuple):
        if not given:
            raise InvalidData("a calibration batch is empty; give inputs or (inputs, targets)")
        given = given[0]
    return CalibrationBatch(*map_tensors(lambda x: x.detach().clone(), arguments(given)))


def norms_of(model: nn.Module) -> dict[str, nn.modules.batchnorm._BatchNorm]:
    """The batch norms that keep running statistics."""
    kind = nn.modules.batchnorm._BatchNorm
    return {n: m for n, m in model.named_modules() if isinstance(m, kind) and m.running_mean is not None}


class _Measuring:
    """A subnet whose norms average the statistics of their inputs; everything else is in evaluation mode."""

    def __init__(self, subnet: Program, model: nn.Module) -> None:
        self._subnet, self._model = subnet, model
        self._norms = norms_of(model)
        self.measured: dict[str, dict[str, Tensor]] = {}

    def assignments(self) -> list[Assignment]:
        base = list(self._subnet.assignments())
        sliced = {id(place): values for place, values in base}
        evaluating: list[Assignment] = [(m.__dict__, {"training": False}) for m in self._model.modules()]
        measuring: list[Assignment] = []
        for name, norm in self._norms.items():
            mean = cast(Tensor, sliced.get(id(norm.__dict__), {}).get("running_mean", norm.running_mean))
            fresh = {
                "running_mean": torch.zeros_like(mean),
                "running_var": torch.ones_like(mean),
                "num_batches_tracked": torch.zeros((), dtype=torch.long, device=mean.device),
            }
            self.measured[name] = fresh
            measuring.append((norm.__dict__, {**fresh, "momentum": None, "training": True}))
        return base + evaluating + measuring

    def finish(self, assignments: Sequence[Assignment]) -> None:
        """Nothing of the model was written to."""

    def resume(self, assignments: Sequence[Assignment]) -> None:
        """Nothing of the model was copied."""


def statistics(shadow: Shadow, subnet: Program, batches: Iterable[CalibrationBatch]) -> dict[str, NDArray[Any]]:
    """Mean and variance of every batch norm that runs, averaged over the batches with equal weight.

    Dropout, everything else that only training does, gradients and autocast are off; the model does not change.

    Returns:
        Buffer name -> array ``(channels,)`` in the buffer's precision, at least 32 bits.

    Raises:
        InvalidData: for batches that the network cannot run, and for batches with one value per channel.
    """
    if not norms_of(shadow.model):
        return {}
    measuring = _Measuring(subnet, shadow.model)
    device = next((p.device for p in shadow.model.parameters()), torch.device("cpu"))
    with torch.no_grad(), torch.autocast(device.type, enabled=False), shadow.running(measuring):
        for batch in batches:
            here = map_tensors(lambda x: x.to(device), batch)
            try:
                shadow.model(*here.inputs, **here.keywords)
            except (RuntimeError, TypeError, IndexError) as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                shapes = [list(x.shape) for x in (*here.inputs, *here.keywords.values()) if isinstance(x, torch.Tensor)]
                raise InvalidData(
                    f"the network cannot run the calibration batch of shapes {shapes}: {str(error)[:300]}; record "
                    "batches like those that it is trained on"
                ) from error
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                raise InvalidData(f"{error}; record calibration batches of two or more samples") from error
    found = {}
    for name, fresh in measuring.measured.items():
        if int(fresh["num_batches_tracked"]):  # else it did not run in this subnet
            for statistic in STATISTICS:
                tensor = fresh[statistic].cpu()
                tensor = tensor if tensor.dtype == torch.float64 else tensor.float()
                found[qualified(name, statistic)] = np.array(tensor.numpy())
    return found


def weights_version(model: nn.Module, policy_tensors: Iterable[Tensor]) -> tuple[tuple[int, int, int], ...]:
    """Changes whenever a weight is changed in place or replaced; the norms' own statistics do not count.

    Changes through ``tensor.data`` are not seen: torch keeps no record of them.
    """
    ignored = {id(getattr(n, name)) for n in norms_of(model).values() for name in (*STATISTICS, "num_batches_tracked")}
    tensors = [*model.parameters(), *(b for b in model.buffers() if id(b) not in ignored), *policy_tensors]
    return tuple((id(t), t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)
