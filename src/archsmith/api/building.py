"""Make a network elastic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from archsmith.supernet import Elastic, Supernet


def elastic(
    model: nn.Module, example_inputs: Any, axes: Mapping[str, Elastic] | None = None, *, copy: bool = True
) -> Supernet:
    """A supernet of ``model``: its choice modules and the axes declared for its modules become choices.

    Args:
        model: any module; it is copied and stays as it is.
        example_inputs: of one call: a tensor, a tuple of the positional inputs, or a mapping by name.
        axes: module name -> which of its dimensions follow which choice.
        copy: ``False`` shadows ``model`` itself for the length of each call instead of a copy; for large models.

    Raises:
        InvalidModel: naming the module and dimension that does not fit, or when nothing is elastic.
    """
    return Supernet(model, dict(axes or {}), example_inputs=example_inputs, copy=copy)
