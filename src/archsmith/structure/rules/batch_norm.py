"""Batch normalisation: everything follows the channels."""

from __future__ import annotations

from typing import final

from torch import nn

from archsmith.errors import InvalidModel
from archsmith.method import OURS
from archsmith.structure.axes import Elastic
from archsmith.structure.rules._checks import axis_of, refuse_fields
from archsmith.structure.rules.base import Declared, Rule


@final
class BatchNorm(Rule):
    """Batch normalisation of one to three spatial dimensions: weight, bias and running statistics follow ``over``."""

    paper = OURS

    def handles(self, module: nn.Module) -> bool:
        return isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm)

    def declare(self, where: str, module: nn.Module, elastic: Elastic) -> Declared:
        if not isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise TypeError(f"not a batch norm: {module}")
        refuse_fields(where, "batch norm", elastic, "over")
        over = axis_of(where, "over", elastic.over, module.num_features)
        if over is None:
            raise InvalidModel(f"{where}: a batch norm needs Elastic(over=...)")
        names = ("weight", "bias", "running_mean", "running_var")
        held = [n for n in names if getattr(module, n) is not None]
        return Declared(dict.fromkeys(held, (over,)), {"num_features": over})
