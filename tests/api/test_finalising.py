"""The last check: measured again, dropped where a limit breaks, replaced by what was dominated."""

from types import SimpleNamespace

import pytest

from archsmith.api.front import read_front
from archsmith.api.run import Run
from archsmith.architecture import Proposal
from archsmith.errors import Infeasible, Interrupted
from archsmith.evaluation import Evaluation
from archsmith.metric import Limit, Objective
from archsmith.orchestration.finalising import finalise
from archsmith.progress import Reporter
from archsmith.space import Choice, ChoiceSpace
from archsmith.value import Value

SPACE = ChoiceSpace([Choice("n", (1, 2, 3, 4, 5))])
OBJECTIVES = (Objective("accuracy_top1", "max"), Objective("latency_ms", "min"))
LIMITS = (Limit("latency_ms", "<=", 3.5),)


class Session:
    """What :func:`finalise` needs of one: latency is ``n`` at first, and ``again[n]`` at the last check."""

    def __init__(self, folder, again=(), accuracy=lambda n: 10.0 * n, *, stop=False):
        fixed = {"model": None, "space": SPACE.to_json(), "data": {"fingerprint": "none"}, "device": "fake"}
        self.run = Run.begin(folder, fixed)
        self.store = self.run.store(writable=True)
        self.again, self.accuracy = dict(again), accuracy
        self.context, self.checked = None, []
        self.reporter = Reporter(stop=lambda: stop)
        header = {
            "objectives": [str(o) for o in OBJECTIVES],
            "limits": [x.to_json() for x in LIMITS],
            "limits_as_written": [str(x) for x in LIMITS],
            "strategy": "random",
            "options": {},
            "seed": 0,
            "evaluator": "e" * 16,
            "space": SPACE.fingerprint,
        }
        with self.store.journal("search").locked():
            journal = self.store.journal("search")
            journal.begin(header)
            journal.tell([self.evaluation(Proposal(a), n, "e" * 16) for n, a in self.architectures()])

    @staticmethod
    def architectures():
        return [(n, SPACE.architecture({"n": n})) for n in (1, 2, 3, 4, 5)]

    def evaluation(self, proposal, latency, evaluator):
        n = proposal.architecture["n"]
        values = {
            "accuracy_top1": Value(self.accuracy(n), "measured"),
            "latency_ms": Value(latency, "measured", latency - 0.1, latency + 0.1),
        }
        return Evaluation(proposal=proposal, values=values, evaluator=evaluator)

    def composite(self, *, final):
        assert final
        return SimpleNamespace(fingerprint="f" * 16)

    def evaluated(self, evaluate, proposal):
        n = proposal.architecture["n"]
        self.checked.append(n)
        latency, evaluator = self.again.get(n, n), evaluate.fingerprint
        if latency is None:
            failed = {"status": "failed", "reason": "the board is off"}
            return self.store.add(Evaluation(proposal=proposal, values={}, evaluator=evaluator, **failed))
        return self.store.add(self.evaluation(proposal, latency, evaluator))


SPEC = SimpleNamespace(objectives=OBJECTIVES, limits=LIMITS, seed=0)


def finished(session, specification):
    """The front that the last check leaves."""
    finalise(session, specification)
    return read_front(session.run, context=lambda: session.context)


def numbers(front):
    return [m.architecture["n"] for m in front]


def test_only_what_meets_the_limits_is_measured_again(tmp_path):
    session = Session(tmp_path / "r")
    front = finished(session, SPEC)
    assert numbers(front) == [1, 2, 3]
    assert session.checked == [1, 2, 3]
    assert not front.dropped


def test_what_breaks_a_limit_when_measured_again_is_dropped_with_both_figures(tmp_path):
    front = finished(Session(tmp_path / "r", again={3: 3.45}), SPEC)
    assert numbers(front) == [1, 2]
    [reason] = front.dropped.values()
    assert "latency_ms<=3.5" in reason
    assert "[3.35, 3.55]" in reason


def test_what_a_dropped_network_dominated_takes_its_place(tmp_path):
    session = Session(tmp_path / "r", again={1: 9.0}, accuracy=lambda n: 50.0 - n)
    assert numbers(finished(session, SPEC)) == [2]
    assert session.checked == [1, 2]  # 2 was dominated by 1, and is checked once 1 is gone


def test_what_is_dominated_once_measured_again_is_not_handed_out(tmp_path):
    front = finished(Session(tmp_path / "r", again={1: 2.2}, accuracy=lambda n: 10.0 + n), SPEC)
    assert numbers(front) == [2, 3]
    assert "another network" in next(iter(front.dropped.values()))


def test_a_network_that_cannot_be_measured_again_is_dropped(tmp_path):
    front = finished(Session(tmp_path / "r", again={2: None}), SPEC)
    assert numbers(front) == [1, 3]
    assert "the board is off" in next(iter(front.dropped.values()))


def test_nothing_left_says_what_there_is(tmp_path):
    with pytest.raises(Infeasible, match=r"latency_ms from 1 to 5.*3 met them at first"):
        finalise(Session(tmp_path / "r", again={1: 9, 2: 9, 3: 9}), SPEC)


def test_stopped(tmp_path):
    with pytest.raises(Interrupted, match="goes on"):
        finalise(Session(tmp_path / "r", stop=True), SPEC)


def test_belief_and_final_are_told_apart(tmp_path):
    [first, *_] = finished(Session(tmp_path / "r", again={1: 1.05}), SPEC)
    assert first.belief["latency_ms"] == 1
    assert first.final["latency_ms"] == first["latency_ms"] == 1.05
