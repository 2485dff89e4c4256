"""Refusals: models that cannot become a supernet, and tools that cannot run on one."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from archsmith.architecture import Architecture
from archsmith.errors import InvalidModel

_EXTRACT_FIRST = (
    "a supernet cannot be compiled, traced or exported while it runs as a subnet; extract(architecture) gives a module "
    "that can"
)


def copied(model: nn.Module) -> nn.Module:
    """A deep copy.

    Raises:
        InvalidModel: where the model cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:
        raise InvalidModel(
            f"the model cannot be copied: {error}. Remove weight_norm and tensors that are kept with their graphs; "
            "copy=False works on the model itself"
        ) from error


def refuse_wrapped(model: nn.Module) -> None:
    """Refuse objects that are no module, and wrappers around or in the model that bypass shadows."""
    if not isinstance(model, nn.Module):
        raise InvalidModel(f"a model is a torch.nn.Module, got {type(model).__name__}: {model!r}")
    for name, module in model.named_modules():
        where = name or "the model"
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            raise InvalidModel(
                f"{where} is wrapped in {type(module).__name__}; make the model inside elastic, then wrap"
            )
        if isinstance(module, torch.jit.ScriptModule):
            raise InvalidModel(f"{where} is scripted; make the Python module elastic")
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
            raise InvalidModel(f"{where} is compiled; make the plain module elastic, extract a subnet and compile that")


def refuse_tracing() -> None:
    """Refuse compilers and exporters: they would record the slices of one call."""
    if torch.compiler.is_compiling():  # first: the compiler reads this function, and gives up at the next line
        raise InvalidModel(_EXTRACT_FIRST)
    compiler = torch._C._dynamo.eval_frame.get_eval_frame_callback()  # set also where it gave up
    if callable(compiler) or torch._C._get_tracing_state() is not None:
        raise InvalidModel(_EXTRACT_FIRST)


def check_runs(run: Callable[[Architecture], None], smallest: Architecture, largest: Architecture) -> None:
    """Refuse a declaration whose smallest architecture does not run, and a model that does not run at all.

    Raises:
        InvalidModel: from the original error.
    """
    if (error := _failure(run, smallest)) is None:
        return
    if (of_model := _failure(run, largest)) is not None:
        raise InvalidModel(
            f"the model does not run on the example inputs: {of_model}. Give inputs of the shapes, types and device "
            "that its forward takes"
        ) from of_model
    raise InvalidModel(
        f"the smallest architecture does not run: {error}. A module that reads or writes an elastic dimension is "
        "probably not declared; print(supernet.account()) lists those that are"
    ) from error


def _failure(run: Callable[[Architecture], None], arch: Architecture) -> Exception | None:
    """Why ``arch`` does not run on the example inputs."""
    try:
        run(arch)
    except Exception as error:  # noqa: BLE001 - a user's network may raise anything; the caller reports it
        return error
    return None
