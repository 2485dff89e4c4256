"""The batches of a loader, checked and moved to the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor

from archsmith.architecture import Architecture
from archsmith.errors import InvalidData, InvalidOption
from archsmith.structure.calls import arguments, logits_of, map_tensors
from archsmith.supernet.supernet import Supernet
from archsmith.training.base import Loss, is_cross_entropy

Loader = Iterable[Any]
Amp = bool | Literal["bf16"] | None
"""Mixed precision: on CUDA devices (``None``), required, never, or bfloat16 on any device."""


@dataclass(frozen=True)
class Precision:
    """How the forward pass is computed: ``dtype`` is ``None`` for single precision."""

    dtype: torch.dtype | None

    @classmethod
    def of(cls, device: torch.device, *, amp: Amp) -> Precision:
        """Mixed precision on CUDA devices unless ``amp`` says otherwise: bfloat16, or float16 where that is lacking.

        ``"bf16"`` is bfloat16 on any device.

        Raises:
            InvalidOption: for another value, or when ``True`` is asked for on another device than CUDA.
        """
        if amp == "bf16":
            return cls(torch.bfloat16)
        if amp not in (None, True, False):
            raise InvalidOption(f"amp is True, False, None or 'bf16', got {amp!r}")
        if amp and device.type != "cuda":
            raise InvalidOption(
                f"mixed precision (amp=True) is for CUDA devices; the supernet is on {device}. amp='bf16' computes in "
                "bfloat16 anywhere, which is faster on processors that have instructions for it and slower on others"
            )
        if device.type != "cuda" or amp is False:
            return cls(None)
        return cls(torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)


@dataclass(frozen=True)
class TrainingBatch:
    """Inputs of one call by position and name, and the targets."""

    inputs: tuple[Any, ...]
    named: Mapping[str, Any]
    targets: Any

    @classmethod
    def of(cls, item: Any, device: torch.device) -> TrainingBatch:
        """Read an item of a loader: ``(inputs, targets)``, where inputs are a tensor, a tuple or a dict by name.

        Raises:
            InvalidData: for anything else.
        """
        if not isinstance(item, tuple | list) or len(item) != 2:
            form = f"{type(item).__name__} of {len(item)}" if isinstance(item, Sized) else type(item).__name__
            way_out = "; pair it with its labels, such as (batch, batch['labels'])" if isinstance(item, Mapping) else ""
            raise InvalidData(f"the loader yields a {form}; each batch must be a pair (inputs, targets){way_out}")
        positional, named = arguments(item[0])
        moved = map_tensors(lambda x: x.to(device, non_blocking=True), (positional, named, item[1]))
        return cls(*moved)

    def runner(self, supernet: Supernet, device: torch.device, precision: Precision) -> Callable[[Architecture], Any]:
        """A function that computes a subnet's outputs for this batch; they are in single precision in any case."""

        def run(architecture: Architecture) -> Any:
            with torch.autocast(device.type, precision.dtype, enabled=precision.dtype is not None):
                outputs = supernet(*self.inputs, arch=architecture, **self.named)
            return map_tensors(_single, outputs)

        return run


def epochs_of(loader: Loader, epoch: int) -> Iterator[Any]:
    """The batches of one epoch, in that epoch's order where the loader can be told."""
    for holder in (loader, getattr(loader, "sampler", None)):  # a DataLoader's distributed sampler has the method
        if callable(getattr(holder, "set_epoch", None)):
            cast("Any", holder).set_epoch(epoch)
    return iter(loader)


def check_loader(loader: Any, called: str, reads: str) -> None:
    """Refuse loaders that yield no batches, or can be read only once.

    Raises:
        InvalidData: saying how often it is read.
    """
    way_out = "give a DataLoader, a list, or Data.batches(...)"
    if isinstance(loader, Iterator):
        raise InvalidData(f"{called} is a {type(loader).__name__}, which can be read only once; {reads}: {way_out}")
    if isinstance(loader, str) or not (hasattr(loader, "__iter__") or hasattr(loader, "__getitem__")):
        raise InvalidData(f"{called} must give batches (inputs, labels), got {loader!r}; {way_out}")


def steps_in(loader: Loader) -> int:
    """Batches an epoch; counted in one pass where the loader has no length.

    Raises:
        InvalidData: for an empty loader, or one that can be read only once.
    """
    check_loader(loader, "the loader", "training reads it every epoch")
    steps = len(loader) if isinstance(loader, Sized) else sum(1 for _ in loader)
    if steps == 0:
        raise InvalidData("the loader is empty; training needs at least one batch")
    return steps


def checked(loss: Loss) -> Loss:
    """The same loss, with checks: labels need an output of the network, and the result must be one number."""

    def compare(outputs: Any, targets: Any) -> Tensor:
        if is_cross_entropy(loss):
            logits = logits_of(outputs)
            outputs = outputs if logits is None else logits
            _check_classes(outputs, targets, ignored=getattr(loss, "ignore_index", -100))
        value = loss(outputs, targets)
        if not isinstance(value, Tensor) or value.numel() != 1:
            form = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InvalidOption(f"the loss gave {form} instead of one number; let it return a scalar tensor (a mean)")
        if not value.requires_grad:
            raise InvalidOption("the loss does not depend on the weights: do its operations keep the gradient?")
        return value

    compare.__wrapped__ = loss  # type: ignore[attr-defined] # methods may ask what kind of loss it is
    return compare


def _check_classes(outputs: Any, targets: Any, *, ignored: int) -> None:
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor) or outputs.ndim < 2:
        raise InvalidData(
            f"cross-entropy compares logits (b, classes) with labels (b,), got {_form(outputs)} and {_form(targets)}; "
            "give loss= for outputs of another form"
        )
    if targets.is_floating_point() and targets.shape == outputs.shape:
        return  # probabilities
    if targets.is_floating_point() or targets.shape != outputs.shape[:1] + outputs.shape[2:]:
        raise InvalidData(
            f"the labels are {_form(targets)} where logits of {_form(outputs)} need integers of the shape "
            f"{tuple(outputs.shape[:1] + outputs.shape[2:])}; give loss= for targets of another form"
        )
    counted = targets[targets != ignored]
    if counted.numel() and not 0 <= int(counted.min()) <= int(counted.max()) < outputs.shape[1]:
        wrong = int(counted.max()) if int(counted.max()) >= outputs.shape[1] else int(counted.min())
        raise InvalidData(
            f"label {wrong} has no output: the network has {outputs.shape[1]}, for labels 0..{outputs.shape[1] - 1}; "
            "number the labels so, or give the network as many outputs as there are classes"
        )


def _form(thing: Any) -> str:
    return f"{thing.dtype} {tuple(thing.shape)}" if isinstance(thing, Tensor) else f"a {type(thing).__name__}"


def _single(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
