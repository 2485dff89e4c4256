"""The state of a search, as the lines of its journal say it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.store._records import Identity
from archsmith.store.journal import Line


@dataclass
class SearchState:
    """Read line by line, live and in replay alike.

    Args:
        waiting: proposals without a result, in the order in which they came.
        evaluations: everything told, as it is stored, each once.
        told: everything told, as the strategy got it.
        given: proposals that the caller put before the strategy's.
        new: evaluations that this run brought into the store.
        known: results that were there already.
        known_asks: asks in a row that brought nothing new.
        known_proposals: proposals in a row that brought nothing new.
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
        """Take in the next line; returns what it tells the strategy."""
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
        """The evaluation under the proposal that asked for it, with that one's parent and extras."""
        for i, proposal in enumerate(self.waiting):
            if proposal_identity(proposal) == proposal_identity(evaluation.proposal):
                return replace(evaluation, proposal=self.waiting.pop(i))
        return evaluation


def proposal_identity(proposal: Proposal) -> tuple[str, str, str]:
    """What makes two proposals of one search the same: space, key, fidelity."""
    return (proposal.architecture.space, proposal.architecture.key, proposal.fidelity_key)
