"""The parts of pymoo that strategies borrow, kept from drawing global random numbers and from touching warnings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import comb
from typing import Any

import numpy as np

from archsmith.errors import require
from archsmith.strategy.kit.observations import Indices
from archsmith.strategy.kit.variation import Floats


def pymoo(module: str, strategy: str) -> Any:
    """A module of pymoo.

    Raises:
        MissingExtra: where it is not installed.
    """
    return require(f"pymoo.{module}", extra="moo", purpose=f"the strategy {strategy}")


@contextmanager
def quiet_pymoo() -> Iterator[None]:
    """Undoes what pymoo does to the filters of warnings and to numpy's handling of divisions by zero."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def directions(objectives: int, most: int, strategy: str) -> Floats:
    """Evenly spread weights that sum to one (Das and Dennis 1998), ``(k, m)``, as many as fit into ``most``.

    At least one for each objective.

    Raises:
        MissingExtra: where pymoo is not installed.
    """
    make = pymoo("util.ref_dirs", strategy).get_reference_directions
    parts = 1
    while objectives > 1 and comb(parts + objectives, objectives - 1) <= most:
        parts += 1
    found: Floats = np.asarray(make("das-dennis", objectives, n_partitions=parts), dtype=float)
    return found


def surviving(survival: Any, costs: Floats, size: int, rng: np.random.Generator) -> Indices:
    """Which ``size`` rows of feasible ``costs (n, m)`` one of pymoo's survival operators keeps."""
    population = require("pymoo.core.population", extra="moo", purpose="selection").Population.new("F", costs)
    problem = require("pymoo.core.problem", extra="moo", purpose="selection").Problem(n_var=1, n_obj=costs.shape[1])
    with quiet_pymoo():
        kept = survival.do(problem, population, n_survive=size, random_state=rng, return_indices=True)
    return np.asarray(kept, dtype=np.intp)
