"""Seeded trajectories of the strategies without fitted models; they move only on purpose."""

from pathlib import Path

import pytest

from archsmith.testing.strategies import trajectory

HERE = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["random", "nsga2"])
def test_trajectory(name, golden):
    golden(HERE / f"{name}.json", trajectory(name, seed=7, budget=60))
