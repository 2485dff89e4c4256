"""Laws of resume: however often and wherever a search stops, it ends as if it had not."""

import itertools
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


@pytest.mark.parametrize("name", method.names("strategy"))
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
