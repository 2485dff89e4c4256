"""Seeded trajectories of the strategies without fitted models; they move only on purpose."""

from pathlib import Path

import pytest

from archsmith.testing.strategies import trajectory

HERE = Path(__file__).parent / "golden"


OURS = ["random", "nsga2", "mcts", "local_search", "pareto_local_search", "regularized_evolution", "age_moea", "asng"]
OURS += ["adaptive_mutation", "genetic_algorithm"]
WITH_PYMOO = ["moead", "nsga3", "sms_emoa"]


@pytest.mark.parametrize("name", OURS + WITH_PYMOO)
def test_trajectory(name, golden):
    if name in WITH_PYMOO:
        pytest.importorskip("pymoo")
    golden(HERE / f"{name}.json", trajectory(name, seed=7, budget=60))
