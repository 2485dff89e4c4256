"""Memory and data movement of a subnet, computed from its operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from torch import Tensor

from archsmith.architecture import Proposal
from archsmith.candidates.fingerprints import input_shapes
from archsmith.errors import EvaluationFailed, InvalidOption
from archsmith.evaluator.base import Evaluator
from archsmith.evaluator.kit.operator_counter import OperatorCounts, count_operators
from archsmith.export.onnx_tools.by_position import positional
from archsmith.fingerprint import fingerprint_of
from archsmith.method import Paper
from archsmith.metric import KNOWN_METRICS, Metric
from archsmith.supernet.supernet import Supernet
from archsmith.value import Value

WEIGHT_SHARE = 0.5
"""Equal importance of a byte of weights and a byte of activations."""


@final
class Footprint(Evaluator):
    """``live_memory_mib`` and ``arithmetic_intensity``, the latter weighing weights and activations apart.

    Live memory is weights and buffers plus the most activations that are alive at one time when the operators run one
    by one. Arithmetic intensity is multiply-adds over ``2 (s W + (1 - s) A)``: ``W`` bytes of weights and ``A`` bytes
    of activations that the multiplying operators read and write, each operator for itself, for one input.

    Departs from the paper: bytes are counted instead of elements, so that data types count by their size, and the share
    ``s`` is an option instead of a constant fitted on two graphics processors; at its default it is plain intensity.

    Args:
        supernet: from which subnets are extracted.
        weight_share: ``s``, from 0 (activations only) to 1 (weights only).
    """

    paper = Paper(
        authors="Jha and Mittal",
        year=2021,
        title="Modeling Data Reuse in Deep Neural Networks by Taking Data-Types into Cognizance",
        venue="IEEE Transactions on Computers",
        arxiv="2008.02565",
    )
    depends_on = "architecture"

    def __init__(self, supernet: Supernet, *, weight_share: float = WEIGHT_SHARE) -> None:
        if not 0 <= weight_share <= 1:
            raise InvalidOption(f"weight_share={weight_share} must lie between 0 and 1")
        self._supernet, self._share = supernet, weight_share

    @property
    def metrics(self) -> Sequence[Metric]:
        return (KNOWN_METRICS["live_memory_mib"], KNOWN_METRICS["arithmetic_intensity"])

    @property
    def fingerprint(self) -> str:
        return fingerprint_of("footprint", self._share, self._supernet.space.fingerprint, input_shapes(self._supernet))

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        del seed  # nothing here is random
        module = positional(self._supernet.extract(proposal.architecture), self._supernet.input_names)
        found = count_operators(module, one_input(self._supernet.inputs_of(proposal.architecture)))
        return {
            "live_memory_mib": Value((found.weight_bytes + found.live_bytes) / 2**20, "computed"),
            "arithmetic_intensity": Value(intensity(found, self._share), "computed"),
        }


def one_input(example_inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Example inputs with a batch of one."""
    return tuple(x[:1] if isinstance(x, Tensor) and x.ndim else x for x in example_inputs)


def intensity(found: OperatorCounts, weight_share: float) -> float:
    """Multiply-adds for each weighted byte.

    Raises:
        EvaluationFailed: for a network in which nothing is multiplied.
    """
    macs = sum(o.macs for o in found.operations)
    moved = sum(2 * (weight_share * o.weights + (1 - weight_share) * o.activations) for o in found.operations)
    if moved <= 0:
        raise EvaluationFailed("the network multiplies nothing, so it has no arithmetic intensity")
    return macs / moved
