"""A network in the form that exporters and runtimes need: inputs by position, outputs as a flat tuple of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from archsmith.errors import InvalidModel


class Positional(nn.Module):
    """Takes inputs by position, passes them to ``network`` by name, and returns its tensors as a flat tuple.

    Only for measuring and exporting: users get their own classes.

    Args:
        network: shared, not copied.
        names: of the inputs, in the order in which they come; none where the network takes them by position.
    """

    def __init__(self, network: nn.Module, names: Sequence[str] = ()) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)
        self.training = network.training

    def forward(self, *inputs: Any) -> Any:
        """One tensor, or a tuple of them where there are several.

        Raises:
            InvalidModel: where the network returns no tensor at all.
        """
        outputs = self.outputs(*inputs)
        found = tuple(tensor for _, tensor in named_tensors(outputs))
        if not found:
            raise InvalidModel(
                f"the network returns a {type(outputs).__name__} in which there is no tensor; return tensors, or "
                "tuples, lists, dicts or dataclasses of them"
            )
        return found[0] if len(found) == 1 else found

    def outputs(self, *inputs: Any) -> Any:
        """The outputs as the network itself returns them."""
        named = dict(zip(self.names, inputs, strict=True)) if self.names else {}
        return self.network(*(() if self.names else inputs), **named)


def positional(network: nn.Module, names: Sequence[str]) -> nn.Module:
    """``network`` for inputs by position; unchanged where it takes them by position anyway."""
    return Positional(network, names) if names else network


def flattened(network: nn.Module, inputs: tuple[Any, ...]) -> tuple[nn.Module, tuple[str, ...]]:
    """``network`` with outputs that exporters can hold, and their names where the user's class names them.

    Args:
        network: takes inputs by position; it is run once.
        inputs: of one call.
    """
    with torch.no_grad():
        outputs = network.outputs(*inputs) if isinstance(network, Positional) else network(*inputs)
    if isinstance(outputs, Tensor) or (
        isinstance(outputs, tuple | list) and outputs and all(isinstance(x, Tensor) for x in outputs)
    ):
        return network, ()
    wrapped = network if isinstance(network, Positional) else Positional(network)
    fields = not isinstance(outputs, tuple | list) or hasattr(outputs, "_fields")
    return wrapped, tuple(name for name, _ in named_tensors(outputs)) if fields else ()


def named_tensors(outputs: Any, name: str = "") -> list[tuple[str, Tensor]]:
    """All tensors of an output in a fixed order, each with its place: ``logits``, ``hidden_states.0``.

    Tuples, lists, mappings, dataclasses and what lies in them are looked through; caches and other objects are not.
    """
    if isinstance(outputs, Tensor):
        return [(name, outputs)]
    if isinstance(outputs, Mapping):
        parts: Any = outputs.items()
    elif isinstance(outputs, tuple | list):
        parts = zip(getattr(outputs, "_fields", range(len(outputs))), outputs, strict=True)
    elif dataclasses.is_dataclass(outputs) and not isinstance(outputs, type):
        parts = [(f.name, getattr(outputs, f.name)) for f in dataclasses.fields(outputs)]
    else:
        return []
    return [found for key, part in parts for found in named_tensors(part, f"{name}.{key}" if name else str(key))]
