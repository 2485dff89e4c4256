"""The state of a search, computed from the lines of its journal."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.store._records import Identity
from archsmith.store.journal import Line


@dataclass
class SearchState:
    """The state after the lines that :meth:`read` has got; the same in a search and in its replay.

    Args:
        waiting: proposals without a result, in the order in which they were made.
        evaluations: all results as they are stored, each once.
        told: all results as the strategy got them.
        given: proposals of the caller.
        new: evaluations that this run added to the store.
        known: results that were in the store already.
        known_asks: asks in a row without a new evaluation.
        known_proposals: proposals in a row without a new evaluation.
        seconds: of work.
        finished: whether the strategy had nothing to propose when it was last asked.
    """

    waiting: list[Proposal] = field(default_factory=list)
    evaluations: dict[Identity, Evaluation] = field(default_factory=dict)
    told: list[Evaluation] = field(default_factory=list)
    given: list[Proposal] = field(default_factory=list)
    new: int = 0
    known: int = 0
    known_asks: int = 0
    known_proposals: int = 0
    seconds: float = 0.0
    finished: bool = False

    def read(self, line: Line) -> list[Evaluation]:
        """Update the state with the next line; returns the results to tell the strategy."""
        self.seconds += line.seconds
        self.waiting.extend(line.proposals)
        if line.kind == "give":
            self.given.extend(line.proposals)
        elif line.kind == "ask":
            self.finished = not line.proposals
            self.known_asks += 1
            self.known_proposals += len(line.proposals)
        elif line.kind == "restart":
            self.finished = False
        if line.new:
            self.known_asks = self.known_proposals = 0
        self.new += line.new
        self.known += len(line.evaluations) - line.new
        self.evaluations |= {e.identity: e for e in line.evaluations if e.identity not in self.evaluations}
        results = [self._result(e) for e in line.evaluations]
        self.told += results
        return results

    def _result(self, evaluation: Evaluation) -> Evaluation:
        """The evaluation with the waiting proposal that it answers, with that proposal's parent and extras."""
        for i, proposal in enumerate(self.waiting):
            if proposal_identity(proposal) == proposal_identity(evaluation.proposal):
                return replace(evaluation, proposal=self.waiting.pop(i))
        return evaluation


def proposal_identity(proposal: Proposal) -> tuple[str, str, str]:
    """What makes two proposals of one search the same: space, key, fidelity."""
    return (proposal.architecture.space, proposal.architecture.key, proposal.fidelity_key)
