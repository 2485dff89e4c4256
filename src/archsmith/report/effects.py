"""The effect of each choice on each objective, estimated from the evaluated networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Option
from archsmith.evaluation import Evaluation
from archsmith.space import ChoiceSpace
from archsmith.space.base import Space


@dataclass(frozen=True)
class OptionEffect:
    """Values of one metric among the networks that have one option: mean and 10th to 90th percentile."""

    option: Option
    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ChoiceEffect:
    """One choice and one metric.

    Args:
        choice: its name.
        metric: its name.
        options: those that evaluated networks have, in the order of the space.
        share: of the metric's variance that the choice explains, corrected for its number of options (epsilon
            squared); 0 where it explains nothing.
    """

    choice: str
    metric: str
    options: tuple[OptionEffect, ...]
    share: float


def main_effects(
    evaluations: Sequence[Evaluation], metrics: Sequence[str], space: Space | None = None
) -> list[tuple[ChoiceEffect, ...]]:
    """The effects of every choice with two evaluated options or more, the strongest choice first.

    Failed evaluations and those at a lower fidelity are left out, and so are networks in which the choice is inactive.

    Args:
        evaluations: of one space.
        metrics: metrics to estimate the effects on.
        space: gives the order of choices and options; they are sorted by value without it.

    Returns:
        One tuple a choice: its effect on each of ``metrics``, in that order.
    """
    used = [e for e in evaluations if e.ok and not e.proposal.fidelity and all(m in e.values for m in metrics)]
    order = _order(used, space)
    found = []
    for choice, options in order.items():
        having = [(e, e.architecture.get(choice)) for e in used]
        met = [o for o in options if any(v == o for _, v in having)]
        if len(met) > 1:
            found.append(tuple(_effect(choice, m, met, having) for m in metrics))
    return sorted(found, key=lambda effects: -max(e.share for e in effects))


def _order(evaluations: Sequence[Evaluation], space: Space | None) -> dict[str, list[Option]]:
    if isinstance(space, ChoiceSpace):
        return {c.name: list(c.options) for c in space.choices}
    met: dict[str, set[Option]] = {}
    for e in evaluations:
        for name, value in e.architecture.choices:
            met.setdefault(name, set()).add(value)
    return {name: sorted(values, key=_rank) for name, values in met.items()}


def _rank(option: Option) -> tuple[float, str]:
    """Numbers by size, then everything else by its text."""
    return (option, "") if isinstance(option, int | float) else (math.inf, str(option))


def _effect(
    choice: str, metric: str, options: Sequence[Option], having: Sequence[tuple[Evaluation, Option | None]]
) -> ChoiceEffect:
    groups = [np.array([e[metric] for e, v in having if v == o]) for o in options]
    summaries = []
    for option, group in zip(options, groups, strict=True):
        low, high = np.percentile(group, [10, 90])
        summaries.append(OptionEffect(option, len(group), float(group.mean()), float(low), float(high)))
    return ChoiceEffect(choice, metric, tuple(summaries), _explained(groups))


def _explained(groups: Sequence[NDArray[np.float64]]) -> float:
    values = np.concatenate(groups)
    total = float(((values - values.mean()) ** 2).sum())
    within = float(sum(((g - g.mean()) ** 2).sum() for g in groups))
    spare = len(values) - len(groups)
    if total <= 0 or spare <= 0:
        return 0.0
    return max(0.0, 1 - (within / spare) / (total / (len(values) - 1)))
