"""The inputs and outputs of a network, in the forms in which users have them."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from archsmith.errors import InvalidModel


def arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments of one call.

    Args:
        inputs: one tensor, a tuple or list of the positional inputs, or a mapping by name.

    >>> arguments({"input_ids": 1})
    ((), {'input_ids': 1})
    """
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)), {}


def call(network: Callable[..., Any], inputs: Any) -> Any:
    """``network`` on one batch's inputs: a tensor, a tuple or list of them, or a mapping by name."""
    positional, named = arguments(inputs)
    return network(*positional, **named)


def check_call(model: nn.Module, inputs: Any) -> None:
    """Refuse inputs that the model's ``forward`` has no parameters for.

    Raises:
        InvalidModel: showing what it takes.
    """
    positional, named = arguments(inputs)
    try:
        signature = inspect.signature(model.forward)
    except ValueError:  # not written in Python
        return
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        how = f"inputs called {', '.join(named)}" if named else f"{len(positional)} inputs by position"
        takes = ", ".join(signature.parameters) or "nothing"
        raise InvalidModel(
            f"{type(model).__name__} cannot be called with {how}: {error}. Its forward takes {takes}; give example "
            "inputs as a tensor, a tuple by position, or a mapping by name"
        ) from error


def in_order(inputs: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    """The inputs of one call in a fixed order, for callers that know positions only.

    Args:
        inputs: a tensor, a tuple or list, or a mapping by name.
        names: the order of a mapping's values; its other entries (labels, say) are left out.

    Raises:
        InvalidModel: when inputs are given by name and the names are not known, or the other way round.
    """
    positional, named = arguments(inputs)
    if not names and not named:
        return positional
    if not names or any(name not in named for name in names):
        raise InvalidModel(
            f"the network was made elastic with example inputs {_listed(names)}, but its data give inputs "
            f"{_listed(named)}; give both in the same form"
        )
    return tuple(named[n] for n in names)


def _listed(names: Collection[str]) -> str:
    return f"called {', '.join(names)}" if names else "by position"


def logits_of(outputs: Any) -> Tensor | None:
    """The logits of classes among a network's outputs; ``None`` where it is not clear which they are.

    They are the tensor itself, ``outputs.logits``, ``outputs["logits"]``, or the first tensor of a tuple or list.
    """
    if isinstance(outputs, Tensor):
        return outputs
    found = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
    if isinstance(found, Tensor):
        return found
    if isinstance(outputs, tuple | list):
        return next((x for x in outputs if isinstance(x, Tensor)), None)
    return None


def map_tensors(function: Callable[[Tensor], Any], thing: Any) -> Any:
    """``thing`` with ``function`` of every tensor in it: in tuples, lists, dicts, dataclasses and model outputs."""

    def leaf(x: Any) -> Any:
        if isinstance(x, Tensor):
            return function(x)
        if dataclasses.is_dataclass(x) and not isinstance(x, type):
            changed = copy.copy(x)
            for field in dataclasses.fields(x):
                object.__setattr__(changed, field.name, map_tensors(function, getattr(x, field.name)))
            return changed
        return x

    return torch.utils._pytree.tree_map(leaf, thing)
