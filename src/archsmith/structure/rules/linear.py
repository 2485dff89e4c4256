"""Linear layers: units out, units in."""

from __future__ import annotations

from typing import final

from torch import nn

from archsmith.method import OURS
from archsmith.structure.axes import Axis, Elastic
from archsmith.structure.rules._checks import axis_of, refuse_fields
from archsmith.structure.rules.base import Declared, Rule


@final
class Linear(Rule):
    """Linear layers: rows follow ``out``, columns follow ``into``."""

    paper = OURS

    def handles(self, module: nn.Module) -> bool:
        return isinstance(module, nn.Linear)

    def declare(self, where: str, module: nn.Module, elastic: Elastic) -> Declared:
        if not isinstance(module, nn.Linear):
            raise TypeError(f"not a linear layer: {module}")
        refuse_fields(where, "linear layer", elastic, "out", "into")
        out = axis_of(where, "out", elastic.out, module.out_features)
        into = axis_of(where, "into", elastic.into, module.in_features)
        tensors: dict[str, tuple[Axis | None, ...]] = {"weight": (out, into)}
        if module.bias is not None:
            tensors["bias"] = (out,)
        sizes = {"out_features": out, "in_features": into}
        return Declared(tensors, {k: a for k, a in sizes.items() if a is not None}, ("weight", 1))
