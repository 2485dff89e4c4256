import pytest

from archsmith import method
from archsmith.testing.engines import PROPOSALS, EngineConformance, square


@pytest.mark.parametrize("name", method.names("engine"))
class TestEveryEngine(EngineConformance):
    @pytest.fixture
    def engine(self, name):
        return method.make("engine", name)


def test_in_process_begins_a_proposal_only_when_the_answer_before_was_taken():
    begun = []

    def evaluate(proposal):
        begun.append(proposal.architecture["x"])
        return square(proposal)

    answers = method.make("engine", "in_process").run(evaluate, PROPOSALS)
    next(answers)
    next(answers)
    assert begun == [0, 1]
    answers.close()
    assert begun == [0, 1]
