"""Any strategy as a search on predictions."""

from __future__ import annotations

import numpy as np

from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption
from archsmith.evaluation import Evaluation
from archsmith.method import load, make
from archsmith.metric import Limit, Objective
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.base import Strategy
from archsmith.strategy.kit.variation import CostFunction, Floats, Rows
from archsmith.value import Value

VIOLATION = "violation"
PREDICTED_BY = "predictions"
"""The evaluator named in predicted evaluations, which are never stored."""


def check_inner(name: str, objectives: int) -> None:
    """Refuse a strategy that cannot serve.

    Raises:
        InvalidOption: for one that handles fewer objectives.
        UnknownName: for an unknown name.
    """
    most = load("strategy", name).handles.objectives
    if most is not None and objectives > most:
        raise InvalidOption(f"inner={name!r} handles {most} objectives at most, this search has {objectives}")


def searched(
    name: str,
    space: ChoiceSpace,
    start: tuple[Rows, Floats, Floats],
    evaluate: CostFunction,
    *,
    evaluations: int,
    batch: int,
    rng: np.random.Generator,
) -> tuple[Rows, Floats, Floats]:
    """Run a strategy, built anew with its default options, on a cost function that is cheap to ask.

    Predicted costs become objectives that are minimised, and predicted violations a metric with the limit 0, so that
    the strategy's own rules for limits apply.

    Args:
        name: of the strategy.
        space: of the rows.
        start: rows ``(n, d)`` that it is told before it asks, with their costs ``(n, m)`` and violations ``(n,)``.
        evaluate: costs and violations of rows.
        evaluations: how many it may ask for.
        batch: how many at once.
        rng: the only source of randomness.

    Returns:
        Every row that it asked for, with costs and violations; none where it asked for none.
    """
    m = start[1].shape[1]
    objectives = tuple(Objective(f"cost{i}", "min") for i in range(m))
    strategy: Strategy = make("strategy", name, space, objectives, (Limit(VIOLATION, "<=", 0.0),), rng=rng)
    strategy.tell(_evaluations([Proposal(a) for a in space.architectures(start[0])], start[1], start[2]))
    rows, costs, violations = [start[0][:0]], [start[1][:0]], [start[2][:0]]
    left = evaluations
    while left > 0 and (asked := strategy.ask(min(batch, left))):
        rows.append(space.rows([p.architecture for p in asked]))
        found, broken = evaluate(rows[-1])
        costs.append(found)
        violations.append(broken)
        strategy.tell(_evaluations(asked, found, broken))
        left -= len(asked)
    return np.concatenate(rows), np.concatenate(costs), np.concatenate(violations)


def _evaluations(proposals: list[Proposal], costs: Floats, violations: Floats) -> list[Evaluation]:
    found = []
    for proposal, row, broken in zip(proposals, costs.tolist(), violations.tolist(), strict=True):
        values = {f"cost{i}": Value(cost, "predicted") for i, cost in enumerate(row)}
        values[VIOLATION] = Value(broken, "predicted")
        found.append(Evaluation(proposal=proposal, values=values, evaluator=PREDICTED_BY))
    return found
