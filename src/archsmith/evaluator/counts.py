"""Parameters and multiply-adds of a subnet, counted on its extracted network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from archsmith.architecture import Proposal
from archsmith.candidates.fingerprints import input_shapes
from archsmith.evaluator.base import Evaluator
from archsmith.export.onnx_tools.by_position import positional
from archsmith.fingerprint import fingerprint_of
from archsmith.method import OURS
from archsmith.metric import KNOWN_METRICS, Metric
from archsmith.supernet.supernet import Supernet
from archsmith.value import Value


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
        return (KNOWN_METRICS["params"], KNOWN_METRICS["macs"])

    @property
    def fingerprint(self) -> str:
        return fingerprint_of("counts", self._supernet.space.fingerprint, input_shapes(self._supernet))

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        del seed  # nothing here is random
        module = self._supernet.extract(proposal.architecture)
        inputs = self._supernet.inputs_of(proposal.architecture)
        params, macs = count(positional(module, self._supernet.input_names), inputs)
        return {"params": Value(params, "computed"), "macs": Value(macs, "computed")}


def count(module: nn.Module, example_inputs: tuple[Any, ...]) -> tuple[int, int]:
    """Parameters, and multiply-adds of one input (the first dimension is the batch), of a plain module.

    Most networks are counted on shapes without data; one whose control flow depends on its inputs (a mask, say) is run.

    Args:
        module: in evaluation mode; not changed.
        example_inputs: of one call, by position.
    """
    params = sum(p.numel() for p in module.parameters())
    inputs = tuple(x[:1] if isinstance(x, Tensor) and x.ndim else x for x in example_inputs)
    shapes = tuple(x.to("meta") if isinstance(x, Tensor) else x for x in inputs)
    weights = {n: t.to("meta") for n, t in (*module.named_parameters(), *module.named_buffers())}
    counter = FlopCounterMode(display=False)
    with torch.no_grad():
        try:
            with counter:
                torch.func.functional_call(module, weights, shapes)
        except (RuntimeError, NotImplementedError):
            with sdpa_kernel(SDPBackend.MATH), counter:  # starts at 0 again; it does not count fused attention
                module(*inputs)
    return params, counter.get_total_flops() // 2
