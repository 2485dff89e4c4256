"""The contract of an engine."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Sequence

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.method import Method

Evaluate = Callable[[Proposal], Evaluation]
"""Evaluates one proposal; errors become an evaluation with ``status="failed"``."""


class Engine(Method):
    """Where evaluations run. Every engine is built from keyword options only."""

    @abstractmethod
    def run(self, evaluate: Evaluate, proposals: Sequence[Proposal]) -> Generator[Evaluation]:
        """Evaluate each proposal once and yield the results as they finish.

        Closing the generator cancels proposals that have not begun. What ``evaluate`` raises is raised here;
        results yielded before stay valid.
        """
