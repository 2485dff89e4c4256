"""Laws of resume: however often and wherever a search stops, it ends as if it had not."""

import itertools
import time
import uuid

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from archsmith import loop, method
from archsmith.store import Store
from archsmith.testing.scripted import evaluate, make, question
from archsmith.testing.strategies import handled
from archsmith.testing.toy import TOY_EVALUATOR, TOY_OBJECTIVES, toy_evaluate, toy_space


def search(store, *, budget=16, batch=3, stop_after=10**9, make=make, evaluate=evaluate, evaluator="toy", first=()):
    seen = itertools.count()

    def counted(proposal):
        next(seen)
        return evaluate(proposal)

    calls = []
    outcome = loop.search(
        lambda: Watched(make(), calls),
        counted,
        store.journal("search"),
        header={"seed": 7},
        limits=(),
        budget=loop.Budget(evaluations=budget),
        evaluator=evaluator,
        batch=batch,
        first=first,
        stop=lambda: next(seen) >= stop_after,
    )
    return outcome, calls


class Watched:
    """Writes down every call and its answer."""

    def __init__(self, inner, calls):
        self.inner, self.calls = inner, calls

    def ask(self, n):
        asked = self.inner.ask(n)
        self.calls.append(("ask", n, asked))
        return asked

    def tell(self, evaluations):
        self.calls.append(("tell", list(evaluations)))
        self.inner.tell(evaluations)


@settings(max_examples=8)
@given(
    stops=st.lists(st.integers(0, 9), max_size=5),
    batch=st.integers(1, 5),
    known=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8),
    side=st.sampled_from([6, 40]),
)
@example(stops=[0, 0, 1], batch=4, known=[(3, 3)], side=6)
def test_replay_equals_live(memory, stops, batch, known, side):
    """The strategy sees the same calls with the same arguments, and so the search finds the same."""
    options = {"batch": batch, "make": lambda: make(side=side), "first": [question(0), question(0), question(5, 5)]}
    outcomes = []
    for interruptions in ([], stops):
        with Store.open(memory / f"{uuid.uuid4().hex}.db") as store:
            for x, y in known:
                if (x, y) != (3, 3):
                    store.add(evaluate(question(x, y)))
            for stop_after in interruptions:
                search(store, stop_after=stop_after, **options)
            outcome, calls = search(store, **options)
            lines = [(x.number, x.kind, x.n, x.proposals, x.evaluations, x.new) for x in store.journal("search").lines]
            outcomes.append((outcome.evaluations, outcome.reason, outcome.new, outcome.known, calls, lines))
            assert len({e.identity for e in outcome.evaluations}) == len(outcome.evaluations)
            assert len(calls) == sum(line[1] in ("ask", "tell") for line in lines)
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "qlognehvi")) for n in method.names("strategy")]
)
def test_every_strategy_goes_on_as_if_unbroken(name, folder):
    few = {"pool": 20, "samples": 4, "initial": 20} if name == "qlognehvi" else {}
    objectives = handled(name, TOY_OBJECTIVES)

    def build():
        return method.make("strategy", name, toy_space(), objectives, (), rng=np.random.default_rng(5), **few)

    options = {"budget": 25, "batch": 5, "make": build, "evaluate": toy_evaluate, "evaluator": TOY_EVALUATOR}
    with Store.open(folder / "a.db") as store:
        unbroken, _ = search(store, **options)
    with Store.open(folder / "b.db") as store:
        for stop_after in (7, 1, 6):
            search(store, stop_after=stop_after, **options)
        broken, _ = search(store, **options)
    assert broken.resumed
    assert broken.evaluations == unbroken.evaluations


# --- recalling, stopping, telling how far


class Counting:
    """Counts how often a strategy is really asked."""

    def __init__(self, monkeypatch, name="nsga2"):
        self.asked, kind = 0, method.load("strategy", name)
        ask = kind.ask

        def counted(strategy, n):
            self.asked += 1
            return ask(strategy, n)

        monkeypatch.setattr(kind, "ask", counted)
        self.name, self.seed = name, 5

    def __call__(self):
        rng = np.random.default_rng(self.seed)
        return method.make("strategy", self.name, toy_space(), TOY_OBJECTIVES, (), rng=rng)


def plain_search(store, make, *, budget, stop=lambda: False, clock=time.monotonic, batch=2):
    events = []
    outcome = loop.search(
        make,
        toy_evaluate,
        store.journal("search"),
        header={},
        limits=(),
        budget=loop.Budget(evaluations=budget),
        evaluator=TOY_EVALUATOR,
        batch=batch,
        on_event=events.append,
        stop=stop,
        clock=clock,
    )
    return outcome, [e for e in events if not isinstance(e, loop.Evaluated)]


@pytest.mark.parametrize(("name", "first", "then"), [("nsga2", 30, 40), ("auto", 14, 18)])
def test_only_the_last_question_is_asked_again(folder, monkeypatch, name, first, then):
    make = Counting(monkeypatch, name)
    with Store.open(folder / "unbroken.db") as store:
        unbroken, _ = plain_search(store, make, budget=then)
    with Store.open(folder / "store.db") as store:
        plain_search(store, make, budget=first)
        make.asked = 0
        plain_search(store, make, budget=first)
        assert make.asked == 1
        assert plain_search(store, make, budget=then)[0].evaluations == unbroken.evaluations


def test_a_journal_that_does_not_say_where_the_generator_stood_is_asked_all_again(folder, monkeypatch):
    make = Counting(monkeypatch)
    with Store.open(folder / "store.db") as store:
        with monkeypatch.context() as patch:
            patch.setattr(loop.searching, "position", lambda strategy: None)
            plain_search(store, make, budget=30)
        make.asked = 0
        plain_search(store, make, budget=30)
        assert make.asked == 15
        _, events = plain_search(store, make, budget=34)
        assert loop.Diverged not in map(type, events)


@pytest.mark.parametrize("state", [{}, {"bit_generator": "MT19937"}, {"bit_generator": "PCG64", "state": None}])
def test_a_generator_that_cannot_stand_there_is_not_put_there(folder, monkeypatch, state):
    make = Counting(monkeypatch)
    with Store.open(folder / "store.db") as store:
        with monkeypatch.context() as patch:
            patch.setattr(loop.searching, "position", lambda strategy: state)
            plain_search(store, make, budget=10)
        make.asked = 0
        plain_search(store, make, budget=10)
        assert make.asked == 5


def test_a_strategy_that_asks_otherwise_now_is_noticed_by_its_last_question(folder, monkeypatch):
    make = Counting(monkeypatch)
    with Store.open(folder / "store.db") as store:
        plain_search(store, make, budget=30)
        with monkeypatch.context() as patch:
            patch.setattr("archsmith.strategy.evolution.nsga2.Nsga2._parents", lambda _: np.zeros(1, dtype=int))
            outcome, events = plain_search(store, make, budget=34)
        assert [type(e) for e in events] == [loop.Diverged, loop.Resumed, loop.Finished]
        assert len(outcome.evaluations) == 34
        assert [x.kind for x in store.journal("search").lines].count("restart") == 1


def test_a_proposal_that_is_no_point_of_the_space_is_no_error(folder, monkeypatch):
    make = Counting(monkeypatch)
    with Store.open(folder / "store.db") as store:
        plain_search(store, make, budget=8)
        monkeypatch.setattr(type(toy_space()), "contains", lambda *_: False)
        _, events = plain_search(store, make, budget=10)
        assert "cannot have proposed what line 0 says" in events[0].reason


def test_a_replay_can_be_stopped_between_lines_and_loses_nothing(folder, monkeypatch):
    make, calls = Counting(monkeypatch), itertools.count(1)
    with Store.open(folder / "store.db") as store:
        before, _ = plain_search(store, make, budget=20)
        lines = store.journal("search").lines
        make.asked = 0
        stopped, events = plain_search(store, make, budget=30, stop=lambda: next(calls) >= 4)
        assert next(calls) == 5, "it was asked no further"
        assert make.asked == 0
        assert (stopped.reason, stopped.evaluations, stopped.new) == ("interrupted", before.evaluations, 20)
        assert events == [loop.Finished("interrupted", "interrupted; the same command goes on from here")]
        assert store.journal("search").lines == lines


def test_a_long_replay_says_how_far_it_is(folder, monkeypatch):
    make, seconds = Counting(monkeypatch), itertools.count()
    with Store.open(folder / "store.db") as store:
        plain_search(store, make, budget=10)
        total = len(store.journal("search").lines)
        _, events = plain_search(store, make, budget=10, clock=lambda: next(seconds) * 0.5)
    said = [e for e in events if isinstance(e, loop.Replaying)]
    assert [e.done for e in said] == list(range(1, total, 2))
    assert {e.total for e in said} == {total}
