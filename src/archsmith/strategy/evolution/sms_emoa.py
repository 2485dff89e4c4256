"""Evolution that gives up whatever adds least hypervolume."""

from __future__ import annotations

import numpy as np

from archsmith.method import Paper
from archsmith.strategy.kit.observations import Indices
from archsmith.strategy.kit.pymoo_parts import pymoo, surviving
from archsmith.strategy.kit.survivors import Select, SurvivorEvolution


class SmsEmoa(SurvivorEvolution):
    """SMS-EMOA: steady state; of the last front, the design that adds least hypervolume dies.

    Selection is pymoo's. Parents are drawn evenly among feasible survivors.

    Departures from Beume, Naujoks and Emmerich 2007:

    * Several designs may be told at once, asked for or not; they all join before the weakest die one by one.
    * Objectives are scaled to survivors and newcomers before volumes are compared, with a far reference point (in
      units of the scaled range, 11), where the paper keeps the ends of the front by definition.

    All other departures, and the options, are those of :class:`~archsmith.strategy.kit.survivors.SurvivorEvolution`.
    """

    paper = Paper(
        authors="Beume, Nicola and Naujoks, Boris and Emmerich, Michael",
        title="SMS-EMOA: Multiobjective selection based on dominated hypervolume",
        year=2007,
        venue="European Journal of Operational Research 181(3)",
        doi="10.1016/j.ejor.2006.08.008",
    )

    def _selection(self, objectives: int, population: int) -> Select:  # noqa: ARG002 - the same for all sizes
        survival = pymoo("algorithms.moo.sms", "sms_emoa").LeastHypervolumeContributionSurvival()
        if objectives == 1:  # the volume that a design adds is its rank
            return lambda costs, size: np.argsort(costs[:, 0], kind="stable")[:size]
        return lambda costs, size: surviving(survival, costs, size, self._rng)

    def _pairs(self, n: int) -> Indices:
        return self._alive.couples(n, self._rng)
