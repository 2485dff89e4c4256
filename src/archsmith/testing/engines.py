"""What every engine keeps to; subclass :class:`EngineConformance` and give the fixture ``engine``."""

from __future__ import annotations

import pytest

from archsmith.architecture import Architecture, Proposal
from archsmith.engine.base import Engine
from archsmith.evaluation import Evaluation
from archsmith.value import Value

PROPOSALS = [Proposal(Architecture("grid", (("x", x),)), extras={"asked": x}) for x in range(6)]


def square(proposal: Proposal) -> Evaluation:
    """A function of the architecture alone; importable, so that it travels to other processes."""
    x = proposal.architecture["x"]
    assert isinstance(x, int)
    return Evaluation(proposal=proposal, values={"cost": Value(float(x * x), "computed")}, evaluator="square")


def broken_at_three(proposal: Proposal) -> Evaluation:
    """An evaluate that breaks its promise to answer always."""
    if proposal.architecture["x"] == 3:
        raise ZeroDivisionError("three")
    return square(proposal)


class EngineConformance:
    """Every proposal is answered once; giving up early is allowed."""

    @pytest.fixture
    def engine(self) -> Engine:
        """The engine under test; to be given by the subclass."""
        raise NotImplementedError

    def test_answers_every_proposal_once(self, engine: Engine) -> None:
        """In any order; the proposal comes back as it was asked."""
        answers = sorted(engine.run(square, PROPOSALS), key=lambda e: e["cost"])
        assert [e["cost"] for e in answers] == [0, 1, 4, 9, 16, 25]
        assert [e.proposal.to_json() for e in answers] == [p.to_json() for p in PROPOSALS]

    def test_nothing_asked_nothing_answered(self, engine: Engine) -> None:
        """An empty batch is no error."""
        assert list(engine.run(square, [])) == []

    def test_can_be_given_up(self, engine: Engine) -> None:
        """After closing, nothing more comes; the engine can be used again."""
        answers = engine.run(square, PROPOSALS)
        next(answers)
        answers.close()
        assert list(answers) == []
        assert len(list(engine.run(square, PROPOSALS))) == len(PROPOSALS)

    def test_raises_what_evaluate_raises(self, engine: Engine) -> None:
        """It is the loop that turns exceptions into failed evaluations; none is swallowed here."""
        with pytest.raises(ZeroDivisionError, match="three"):
            list(engine.run(broken_at_three, PROPOSALS))
