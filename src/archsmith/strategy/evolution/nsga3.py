"""The many-objective successor of NSGA-II."""

from __future__ import annotations

from archsmith.method import Paper
from archsmith.strategy.kit.observations import Indices
from archsmith.strategy.kit.pymoo_parts import directions, pymoo, surviving
from archsmith.strategy.kit.survivors import Select, SurvivorEvolution


class Nsga3(SurvivorEvolution):
    """NSGA-III: fronts, and on the last that fits one design for each of evenly spread reference directions.

    Selection is pymoo's. Parents are drawn evenly among feasible survivors.

    Departures from Deb and Jain 2014:

    * Steady state: whatever is told competes with the survivors at once, asked for or not, in any order.
    * The hyperplane that scales the objectives is found anew at each selection, from survivors and newcomers.
    * As many reference directions as fit into the population.

    All other departures, and the options, are those of :class:`~archsmith.strategy.kit.survivors.SurvivorEvolution`.
    """

    paper = Paper(
        authors="Deb, Kalyanmoy and Jain, Himanshu",
        title="An Evolutionary Many-Objective Optimization Algorithm Using Reference-Point-Based Nondominated Sorting "
        "Approach, Part I: Solving Problems With Box Constraints",
        year=2014,
        venue="IEEE Transactions on Evolutionary Computation 18(4)",
        doi="10.1109/TEVC.2013.2281535",
    )

    def _selection(self, objectives: int, population: int) -> Select:
        survival = pymoo("algorithms.moo.nsga3", "nsga3").ReferenceDirectionSurvival
        towards = directions(objectives, population, "nsga3")
        return lambda costs, size: surviving(survival(towards), costs, size, self._rng)

    def _pairs(self, n: int) -> Indices:
        return self._alive.couples(n, self._rng)
