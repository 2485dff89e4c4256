"""The toy problem is what it says: two objectives in conflict, and every choice matters."""

import numpy as np

from archsmith.architecture import Proposal
from archsmith.evaluation import costs
from archsmith.pareto import is_non_dominated
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space


def test_every_choice_changes_an_objective_and_the_objectives_conflict():
    space = toy_space()
    assert space.size().value == 14_742
    rows = space.sample_rows(300, np.random.default_rng(0))
    found = costs([toy_evaluate(Proposal(a)) for a in space.architectures(rows)], TOY_OBJECTIVES)
    assert 5 < is_non_dominated(found).sum() < 100
    moved = set()
    for row in rows[:30]:
        near = space.neighbour_rows(row)
        values = costs([toy_evaluate(Proposal(a)) for a in space.architectures(np.vstack([row, near]))], TOY_OBJECTIVES)
        changed = (values[1:] != values[0]).any(axis=1)
        moved |= {space.names[j] for j in np.argwhere((near != row)[changed])[:, 1]}
    assert moved == set(space.names)
