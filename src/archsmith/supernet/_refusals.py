"""What cannot be made a supernet of, and what a supernet cannot be put through."""

from __future__ import annotations

import copy

import torch
from torch import nn

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
    """Refuse what is no module, and wrappers around the model, or in it, that bypass shadows."""
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


def refuse_plain(given: object, purpose: str) -> None:
    """Refuse what is no supernet, such as the module that one is made of."""
    from archsmith.supernet.supernet import Supernet  # which imports this module

    if not isinstance(given, Supernet):
        raise InvalidModel(
            f"{purpose} needs a supernet, got {type(given).__name__}; make one of a module with "
            "smith.elastic(model, example_inputs)"
        )


def refuse_tracing() -> None:
    """Refuse to be recorded by a compiler or exporter: what it would keep are slices of one call."""
    if torch.compiler.is_compiling():  # first: the compiler reads this function, and gives up at the next line
        raise InvalidModel(_EXTRACT_FIRST)
    compiler = torch._C._dynamo.eval_frame.get_eval_frame_callback()  # set also where it gave up
    if callable(compiler) or torch._C._get_tracing_state() is not None:
        raise InvalidModel(_EXTRACT_FIRST)
