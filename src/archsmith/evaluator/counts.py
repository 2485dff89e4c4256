"""Parameters and multiply-adds of a subnet, counted on its extracted network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from archsmith.architecture import Proposal
from archsmith.evaluation import Value
from archsmith.evaluator._fingerprint import fingerprint_of
from archsmith.evaluator.base import Evaluator
from archsmith.method import OURS
from archsmith.metric import KNOWN, Metric
from archsmith.supernet.supernet import Supernet


@final
class Counts(Evaluator):
    """``params`` (learned numbers, shared ones once) and ``macs`` (multiply-adds of one input).

    Multiply-adds are those of convolutions, matrix products and attention as torch's own counter sees them;
    element-wise work is not counted.
    """

    paper = OURS
    depends_on = "architecture"

    def __init__(self, supernet: Supernet) -> None:
        self._supernet = supernet

    @property
    def metrics(self) -> Sequence[Metric]:
        return (KNOWN["params"], KNOWN["macs"])

    @property
    def fingerprint(self) -> str:
        shapes = repr([tuple(x.shape) for x in self._supernet.example_inputs if isinstance(x, Tensor)])
        return fingerprint_of("counts", self._supernet.space.fingerprint, shapes)

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        del seed  # nothing here is random
        module = self._supernet.extract(proposal.architecture)
        params, macs = count(module, self._supernet.example_inputs)
        return {"params": Value(params, "computed"), "macs": Value(macs, "computed")}


def count(module: nn.Module, example_inputs: tuple[Any, ...]) -> tuple[int, int]:
    """Parameters, and multiply-adds of one input (the first dimension is the batch), of a plain module.

    ``module`` is turned into shapes without data: pass one that nobody else uses.
    """
    params = sum(p.numel() for p in module.parameters())
    inputs = tuple(x[:1].to("meta") if isinstance(x, Tensor) and x.ndim else x for x in example_inputs)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module.to("meta").eval()(*inputs)
    return params, counter.get_total_flops() // 2
