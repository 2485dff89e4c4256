"""Layer normalisation over the last dimension."""

from __future__ import annotations

from typing import final

from torch import nn

from archsmith.errors import InvalidModel
from archsmith.method import OURS
from archsmith.structure.axes import Elastic
from archsmith.structure.rules._checks import axis_of, refuse_fields
from archsmith.structure.rules.base import Declared, Rule


@final
class LayerNorm(Rule):
    """Layer normalisation over one dimension: weight, bias and ``normalized_shape`` follow ``over``."""

    paper = OURS

    def handles(self, module: nn.Module) -> bool:
        return isinstance(module, nn.LayerNorm)

    def declare(self, where: str, module: nn.Module, elastic: Elastic) -> Declared:
        if not isinstance(module, nn.LayerNorm):
            raise TypeError(f"not a layer norm: {module}")
        refuse_fields(where, "layer norm", elastic, "over")
        shape = module.normalized_shape
        if len(shape) != 1:
            raise InvalidModel(f"{where}: normalises over {len(shape)} dimensions {shape}; only one can be elastic")
        over = axis_of(where, "over", elastic.over, shape[0])
        if over is None:
            raise InvalidModel(f"{where}: a layer norm needs Elastic(over=...)")
        held = [n for n in ("weight", "bias") if getattr(module, n) is not None]
        return Declared(dict.fromkeys(held, (over,)), {"normalized_shape": (over,)})
