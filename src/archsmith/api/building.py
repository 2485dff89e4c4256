"""Make a network elastic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from archsmith.errors import InvalidModel
from archsmith.supernet import Elastic, Supernet


def elastic(
    model: nn.Module, example_inputs: Any, axes: Mapping[str, Elastic] | None = None, *, copy: bool = True
) -> Supernet:
    """A supernet of ``model``: its choice modules and the axes declared for its modules become choices.

    Args:
        model: any module; it is copied and stays as it is.
        example_inputs: one tensor, or a tuple of the positional inputs of one call.
        axes: module name -> which of its dimensions follow which choice.
        copy: ``False`` shadows ``model`` itself for the length of each call instead of a copy; for large models.

    Raises:
        InvalidModel: naming the module and dimension that does not fit, or when nothing is elastic.
    """
    if isinstance(example_inputs, Mapping):
        raise InvalidModel(
            "example inputs by name cannot be exported yet; give the model a forward with positional inputs, and pass "
            f"them as a tuple ({', '.join(map(str, example_inputs))})"
        )
    inputs = tuple(example_inputs) if isinstance(example_inputs, tuple | list) else (example_inputs,)
    return Supernet(model, dict(axes or {}), example_inputs=inputs, copy=copy)
