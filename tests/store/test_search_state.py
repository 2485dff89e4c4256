"""The state of a search is what the lines of its journal say, read in order."""

from archsmith.architecture import Architecture, Proposal
from archsmith.evaluation import Evaluation
from archsmith.store.journal import Line
from archsmith.store.search_state import SearchState
from archsmith.value import Value


def proposal(x, **more):
    return Proposal(Architecture("grid", (("x", x),)), **more)


def found(x):
    return Evaluation(proposal=proposal(x), values={"cost": Value(float(x), "computed")}, evaluator="e")


def test_lines_add_up():
    state = SearchState()
    state.read(Line(0, "give", proposals=(proposal(9),), seconds=1.0))
    state.read(Line(1, "ask", n=2, proposals=(proposal(1, extras={"why": "near"}), proposal(2)), seconds=0.5))
    assert [p.architecture["x"] for p in state.waiting] == [9, 1, 2]
    results = state.read(Line(2, "tell", evaluations=(found(1), found(9)), new=1, seconds=2.0))
    assert results[0].proposal.extras == {"why": "near"}, "a result comes under the proposal that asked for it"
    assert [p.architecture["x"] for p in state.waiting] == [2]
    assert (state.new, state.known, state.seconds, state.finished) == (1, 1, 3.5, False)
    assert [e.architecture["x"] for e in state.evaluations.values()] == [1, 9]


def test_asks_that_bring_nothing_new_are_counted_until_something_is_new():
    state = SearchState()
    for number in range(3):
        state.read(Line(number, "ask", n=1, proposals=(proposal(1),)))
    assert (state.known_asks, state.known_proposals) == (3, 3)
    state.read(Line(3, "tell", evaluations=(found(1),), new=1))
    assert (state.known_asks, state.known_proposals) == (0, 0)
    state.read(Line(4, "ask", n=1))
    assert state.finished
    state.read(Line(5, "restart", reason="other version"))
    assert not state.finished
