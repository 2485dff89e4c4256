"""Evaluations in this process, one after the other."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import final

from archsmith.architecture import Proposal
from archsmith.engine.base import Engine, Evaluate
from archsmith.evaluation import Evaluation
from archsmith.method import OURS


@final
class InProcess(Engine):
    """Evaluates in this process, one proposal after another, in the given order."""

    paper = OURS

    def run(self, evaluate: Evaluate, proposals: Sequence[Proposal]) -> Generator[Evaluation]:
        """Evaluate in order; each result is yielded before the next proposal begins."""
        for proposal in proposals:
            yield evaluate(proposal)
