"""The contract of an engine."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Sequence

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.method import Method

Evaluate = Callable[[Proposal], Evaluation]
"""Answers every proposal: what goes wrong becomes an evaluation with ``status="failed"``."""


class Engine(Method):
    """Where evaluations run. Every engine is built from keyword options only."""

    @abstractmethod
    def run(self, evaluate: Evaluate, proposals: Sequence[Proposal]) -> Generator[Evaluation]:
        """Evaluate each proposal once and yield the results as they finish.

        Closing the generator gives up what has not begun. What ``evaluate`` raises is raised here;
        the results that were yielded before stay valid.
        """
