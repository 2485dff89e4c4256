"""A small space and an evaluator of it that answers at once: for tests of strategies, stores and loops."""

from __future__ import annotations

import math

from archsmith.architecture import Architecture, Proposal
from archsmith.evaluation import Evaluation
from archsmith.metric import Objective
from archsmith.space import Choice, ChoiceSpace
from archsmith.value import Value

TOY_EVALUATOR = "toy-evaluator-v1"
TOY_OBJECTIVES = (Objective("accuracy_top1", "max"), Objective("latency_ms", "min"))


def toy_space() -> ChoiceSpace:
    """Eleven choices, some conditional; 14,742 architectures."""
    kernel = (3, 5, 7)
    return ChoiceSpace(
        [
            Choice("stem.width", (8, 16, 24)),
            Choice("stage1.width", (16, 24, 32)),
            Choice("stage1.depth", (1, 2, 3)),
            Choice("stage1.block1.kernel", kernel),
            Choice("stage1.block2.kernel", kernel, when=("stage1.depth", (2, 3))),
            Choice("stage1.block3.kernel", kernel, when=("stage1.depth", (3,))),
            Choice("attention", ("none", "squeeze", "full"), "categorical"),
            Choice("attention.ratio", (2, 4, 8), when=("attention", ("squeeze",))),
            Choice("attention.heads", (1, 2, 4), when=("attention", ("full",))),
            Choice("activation", ("relu", "silu"), "categorical"),
            Choice("resolution", (16, 24, 32)),
        ],
        name="toy",
    )


def toy_evaluate(proposal: Proposal) -> Evaluation:
    """Accuracy in percent that grows with size, and a latency with an interval of 2 % that grows faster.

    A closed formula of the option values: equal on every machine, without noise, each choice matters.
    """
    a = proposal.architecture
    latency = _latency(a)
    half = 0.01 * latency
    return Evaluation(
        proposal=proposal,
        values={
            "accuracy_top1": Value(_accuracy(a), "computed"),
            "latency_ms": Value(latency, "measured", latency - half, latency + half),
        },
        evaluator=TOY_EVALUATOR,
    )


def _number(architecture: Architecture, name: str) -> float:
    value = architecture.get(name, 0)
    return float(value) if isinstance(value, int | float) else 0.0


def _kernels(architecture: Architecture) -> list[float]:
    return [k for block in (1, 2, 3) if (k := _number(architecture, f"stage1.block{block}.kernel"))]


def _latency(a: Architecture) -> float:
    pixels = (_number(a, "resolution") / 32) ** 2
    width = _number(a, "stage1.width") / 32
    convolutions = sum(0.12 * width**2 * k**2 / 9 for k in _kernels(a))
    attention = {"none": 0.0, "squeeze": 0.3 / (1 + _number(a, "attention.ratio"))}.get(
        str(a["attention"]), 0.35 + 0.05 * _number(a, "attention.heads")
    )
    activation = 1.0 if a["activation"] == "relu" else 1.06
    return 0.1 + pixels * activation * (0.15 * _number(a, "stem.width") / 24 + convolutions + width * attention)


def _accuracy(a: Architecture) -> float:
    reach = math.log2(1 + sum(_kernels(a)))
    capacity = 0.8 * math.log2(_number(a, "stem.width")) + 1.6 * math.log2(_number(a, "stage1.width")) + 1.5 * reach
    attention = {"none": 0.0, "squeeze": 1.2 - 0.05 * _number(a, "attention.ratio")}.get(
        str(a["attention"]), 1.5 + 0.2 * _number(a, "attention.heads")
    )
    activation = 0.0 if a["activation"] == "relu" else 0.6
    resolution = 6.0 * math.tanh(_number(a, "resolution") / 24)
    return 70.0 + capacity + attention + activation + resolution
