import math
import os

import numpy as np
import pytest

from archsmith import loop
from archsmith.architecture import Proposal
from archsmith.errors import Infeasible, InvalidOption, RunLocked, RunMismatch, StorageFull, UserError
from archsmith.evaluation import Evaluation
from archsmith.events import KNOWN_ASKS
from archsmith.method import OURS
from archsmith.metric import Limit
from archsmith.store import Store
from archsmith.strategy.base import Handles, Strategy
from archsmith.testing.engines import square
from archsmith.testing.scripted import evaluate, make, point, question
from archsmith.value import Value


class Listed(Strategy):
    """Proposes what it was given, batch by batch, and keeps what it was told."""

    paper = OURS
    handles = Handles()

    def __init__(self, *batches):
        self.batches, self.told = list(batches), []

    def ask(self, n):
        return self.batches.pop(0) if self.batches else []

    def tell(self, evaluations):
        self.told.append(list(evaluations))


class Recorder:
    """Counts evaluations; keeps events."""

    def __init__(self, evaluate=evaluate):
        self.inner, self.asked, self.events = evaluate, [], []

    def __call__(self, proposal):
        self.asked.append(point(proposal))
        return self.inner(proposal)

    def of(self, kind):
        return [e for e in self.events if isinstance(e, kind)]


class Clock:
    """Goes on only when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def store(folder):
    with Store.open(folder / "store.db") as store:
        yield store


def run(store, strategy=make, recorder=None, *, name="search", budget=12, **options):
    recorder = recorder or Recorder()
    options = {"header": {"seed": 7}, "limits": (), "evaluator": "toy", "on_event": recorder.events.append} | options
    budget = loop.Budget.parse(budget)
    return loop.search(strategy, recorder, store.journal(name), budget=budget, **options)


# --- the budget


@pytest.mark.parametrize(
    ("text", "evaluations", "seconds"),
    [
        ("200", 200, None),
        (40, 40, None),
        (" 7 ", 7, None),
        ("30m", None, 1800),
        ("1h30m", None, 5400),
        ("90s", None, 90),
        ("1.5h", None, 5400),
        ("2h5s", None, 7205),
    ],
)
def test_a_budget_is_a_number_or_a_time(text, evaluations, seconds):
    assert loop.Budget.parse(text) == loop.Budget(evaluations, seconds)


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "0m", "30 minutes", "m", "1.2.3h", "30m1h", "1.5", "inf", "٣m", "nanh", -1]
)
def test_other_budgets_are_refused(text):
    with pytest.raises(InvalidOption, match=r"cannot read the budget .* such as 200, or a time such as 30m"):
        loop.Budget.parse(text)


def test_the_budget_counts_new_evaluations_failed_ones_too(store):
    first = [question(3, 3)]
    outcome = run(store, first=first, budget=5, batch=3)
    assert outcome.reason == "budget"
    assert outcome.new == 5 == len(outcome.evaluations) == len(store.evaluations())
    assert outcome.evaluations[0].reason == "RuntimeError: three is broken"
    assert outcome.evaluations[0].evaluator == "toy"
    assert not outcome.resumed


def test_a_finished_run_answers_at_once_and_writes_nothing(store):
    outcome, again = run(store), Recorder()
    lines = store.journal("search").lines
    repeated = run(store, recorder=again)
    assert repeated.evaluations == outcome.evaluations
    assert repeated.resumed
    assert again.asked == []
    assert store.journal("search").lines == lines
    assert [type(e) for e in again.events] == [loop.Resumed, loop.Finished]


def test_a_larger_budget_goes_on(store):
    assert run(store, budget=7).new == 7
    assert run(store, budget=20).new == 20
    with Store.open(store.label.replace("store.db", "other.db")) as other:
        assert run(other, budget=20).evaluations == tuple(store.evaluations())


def test_time_is_counted_over_resumes_and_only_while_it_runs(store):
    clock = Clock()

    def slow(proposal):
        clock.now += 10
        return evaluate(proposal)

    first = run(store, recorder=Recorder(slow), budget="25s", clock=clock)
    assert first.new == 3
    assert first.reason == "budget"
    clock.now += 10_000  # nobody was searching
    recorder = Recorder(slow)
    second = run(store, recorder=recorder, budget="65s", clock=clock)
    assert second.new == 7
    assert [(e.done, e.of, e.seconds, e.of_seconds) for e in recorder.of(loop.Evaluated)][-1] == (7, None, 70, 65)


def test_events_tell_the_progress(store):
    recorder = Recorder()
    run(store, recorder=recorder, budget=4, first=[question(0), question(0)])
    kinds = [type(e) for e in recorder.events]
    assert kinds[0] is loop.Started
    assert kinds[-1] is loop.Finished
    evaluated = recorder.of(loop.Evaluated)
    assert [(e.done, e.of, e.known) for e in evaluated[:3]] == [(1, 4, False), (1, 4, True), (2, 4, False)]
    assert recorder.events[-1].message == "the budget is spent"


# --- ask and tell


def test_first_goes_first_and_is_told(store):
    strategy = Listed([question(5)], [question(6)])
    outcome = run(store, lambda: strategy, first=[question(9), question(8)])
    assert [point(e)[0] for e in outcome.evaluations] == [9, 8, 5, 6]
    assert [[point(e)[0] for e in told] for told in strategy.told] == [[9], [8], [5], [6]]
    assert outcome.reason == "finished"
    assert outcome.message == "the strategy has nothing left to propose"


def test_more_first_ones_on_resume_are_evaluated_then(store):
    run(store, lambda: Listed([question(5)]), first=[question(9)])
    recorder = Recorder()
    outcome = run(store, lambda: Listed([question(5)]), recorder, first=[question(9), question(7)])
    assert recorder.asked == [(7, 0)]
    assert [point(e)[0] for e in outcome.evaluations] == [9, 5, 7]


def test_a_finished_strategy_is_not_asked_again(store):
    run(store, lambda: Listed([question(5)]))
    lines = store.journal("search").lines
    assert run(store, lambda: Listed([question(5)])).reason == "finished"
    assert store.journal("search").lines == lines


def test_known_proposals_are_free_and_come_back_under_the_proposal_that_asked(store):
    store.add(evaluate(question(5, note="somebody else's")))
    strategy, recorder = Listed([question(5, note="mine"), question(6)]), Recorder()
    outcome = run(store, lambda: strategy, recorder, budget=1, batch=2)
    assert recorder.asked == [(6, 0)]
    assert outcome.new == 1
    assert outcome.known == 1
    assert strategy.told[0][0].proposal.extras == {"note": "mine"}
    assert outcome.evaluations[0].proposal.extras == {"note": "somebody else's"}, "what is stored stays"


def test_one_question_twice_is_evaluated_once_and_told_twice(store):
    strategy, recorder = Listed([question(5, i=0), question(6), question(5, i=1)]), Recorder()
    run(store, lambda: strategy, recorder, batch=3)
    assert recorder.asked == [(5, 0), (6, 0)]
    assert [[e.proposal.extras.get("i") for e in told] for told in strategy.told] == [[0, 1], [None]]


def test_fidelities_are_different_questions(store):
    half = Proposal(question(5).architecture, fidelity={"epochs": 1})
    recorder = Recorder()
    run(store, lambda: Listed([question(5), half]), recorder, batch=2)
    assert recorder.asked == [(5, 0), (5, 0)]


def test_nothing_but_known_ones_ends_the_search(store):
    recorder = Recorder()
    outcome = run(store, lambda: make(side=2), recorder, budget=1000)
    assert outcome.reason == "known"
    assert f"{KNOWN_ASKS} asks in a row" in outcome.message
    assert len(recorder.asked) == len(outcome.evaluations) == 4
    lines = store.journal("search").lines
    assert run(store, lambda: make(side=2), budget=1000).reason == "known"
    assert store.journal("search").lines == lines


def test_a_thousand_known_proposals_do_so_too(store):
    outcome = run(store, lambda: make(side=2), budget=5000, batch=400)
    assert outcome.reason == "known"
    assert sum(line.kind == "ask" for line in store.journal("search").lines) == 4


# --- what can go wrong


def test_exceptions_become_failed_evaluations_nan_never_a_value(store):
    def broken(proposal):
        if point(proposal)[0] == 1:
            return Evaluation(proposal=proposal, values={"cost": Value(math.nan, "measured")}, evaluator="toy")
        raise MemoryError("4 GiB wanted")

    outcome = run(store, lambda: Listed([question(1)], [question(2)]), Recorder(broken))
    assert [e.status for e in outcome.evaluations] == ["failed", "failed"]
    assert "finite" in outcome.evaluations[0].reason
    assert outcome.evaluations[1].reason == "out of memory (4 GiB wanted)"


def test_a_full_disk_is_no_finding_about_an_architecture(store):
    def full(proposal):
        raise StorageFull("no space")

    with pytest.raises(StorageFull):
        run(store, recorder=Recorder(full))
    assert store.evaluations() == []
    assert run(store).new == 12


@pytest.mark.parametrize("wrong", [{"evaluator": "other"}, {"seed": 3}])
def test_an_answer_to_another_question_is_refused(store, wrong):
    with pytest.raises(InvalidOption, match="must evaluate the proposal that it was given"):
        run(store, recorder=Recorder(lambda p: evaluate(p, **wrong)))
    with pytest.raises(InvalidOption, match="must evaluate the proposal that it was given"):
        run(store, recorder=Recorder(lambda p: square(question(99))))


def test_ctrl_c_leaves_a_store_that_goes_on(store):
    def interrupting(proposal):
        if len(recorder.asked) == 5:
            raise KeyboardInterrupt
        return evaluate(proposal)

    recorder = Recorder(interrupting)
    with pytest.raises(KeyboardInterrupt):
        run(store, recorder=recorder, batch=4)
    assert len(store.evaluations()) == 4
    asked_again = Recorder()
    outcome = run(store, recorder=asked_again, batch=4)
    assert asked_again.asked[0] == recorder.asked[-1], "asked but unanswered goes first"
    assert set(asked_again.asked).isdisjoint(recorder.asked[:-1])
    assert outcome.new == 12


def test_stop_ends_between_evaluations(store):
    recorder = Recorder()
    outcome = run(store, recorder=recorder, batch=6, stop=lambda: len(recorder.asked) >= 3)
    assert outcome.reason == "interrupted"
    assert outcome.new == 3 == len(store.evaluations())
    assert outcome.message == "interrupted; the same command goes on from here"
    resumed = Recorder()
    assert run(store, recorder=resumed, batch=6).reason == "budget"
    assert resumed.of(loop.Resumed) == [loop.Resumed(evaluations=3, waiting=3)]
    with Store.open(store.label.replace("store.db", "other.db")) as other:
        assert run(other, batch=6).evaluations == tuple(store.evaluations())


@pytest.mark.parametrize("options", [{"batch": 0}, {"patience": 0}, {"limits": [Limit.parse("cost<=60%")]}])
def test_options_outside_their_rule(store, options):
    with pytest.raises(InvalidOption):
        run(store, **options)
    assert store.journals() == []


def test_one_run_is_searched_by_one(store):
    with Store.open(store.label) as other:
        journal = other.journal("search")
        with journal.locked(), pytest.raises(RunLocked, match=f"process {os.getpid()} "):
            run(store)
    run(store)


# --- another header


def test_every_differing_field_is_named(store):
    header = {"strategy": "nsga2", "options": {"population": 20, "eta": 3}, "seed": 1, "limits": [("latency_ms", 3)]}
    run(store, header=header)
    run(store, header=header)
    other = {"strategy": "random", "options": {"population": 30, "eta": 3}, "limits": [("latency_ms", 4)], "data": "ab"}
    with pytest.raises(RunMismatch) as caught:
        run(store, header=other)
    message = str(caught.value)
    for part in (
        'strategy: "nsga2" -> "random"',
        "options.population: 20 -> 30",
        "seed: 1 -> null",
        'limits: [["latency_ms", 3]] -> [["latency_ms", 4]]',
        'data: null -> "ab"',
        "run 'search' in",
        "choose another run",
    ):
        assert part in message
    assert "eta" not in message
    assert run(store, header=other, name="another").known >= 12, "evaluations are shared between runs"


def test_a_changed_circumstance_is_an_event_once(store):
    run(store, noted={"numpy": "2.0", "host": "a"})
    for noted, changes in [
        ({"numpy": "2.1", "host": "a"}, [('numpy: "2.0" -> "2.1"',)]),
        ({"numpy": "2.1", "host": "a"}, []),
    ]:
        recorder = Recorder()
        run(store, recorder=recorder, noted=noted)
        assert [e.changes for e in recorder.of(loop.Noted)] == changes


# --- limits that nothing meets


def test_an_infeasible_request_ends_early_with_the_smallest_value(store):
    recorder = Recorder()
    options = {"limits": [Limit.parse("size<=500"), Limit.parse("cost<=-1")], "budget": 200}
    with pytest.raises(Infeasible) as caught:
        run(store, recorder=recorder, **options)
    assert len(recorder.asked) == 20 == len(store.evaluations())
    best = min((e for e in store.evaluations() if e.ok), key=lambda e: e["cost"])
    value = best.values["cost"]
    assert str(caught.value).startswith(
        f"nothing meets cost<=-1: the smallest cost among 20 evaluations is {value.value:.4g} "
        f"(95 % interval {value.low:.4g} to {value.high:.4g}), of the architecture {best.architecture}; loosen"
    )
    recorder = Recorder()
    with pytest.raises(Infeasible, match="20 evaluations"):
        run(store, recorder=recorder, **options)
    assert recorder.asked == [], "asked again, it is refused at once"


def test_a_lower_bound_names_the_largest(store):
    with pytest.raises(
        Infeasible, match=r"nothing meets size>=1000: the largest size among 5 evaluations is 85\.8, of"
    ):
        run(store, limits=[Limit.parse("size>=1000")], budget=5, first=[question(39, 39)])


def test_patience_waits_for_the_anchors(store):
    anchors = [question(x, 30) for x in range(25)]
    with pytest.raises(Infeasible, match="among 25 evaluations"):
        run(store, limits=[Limit.parse("cost<=-1")], budget=200, first=anchors)


def test_the_pessimistic_end_of_the_interval_counts(store):
    exact = evaluate(question(11, 5)).values["cost"]
    assert exact.value == 0
    with pytest.raises(
        Infeasible, match=r"nothing meets cost<=0\.05: the smallest cost .* is 0 \(95 % interval -0\.1 to 0\.1\)"
    ):
        run(store, lambda: Listed([question(11, 5)]), limits=[Limit.parse("cost<=0.05")], budget=1)


def test_one_that_meets_it_is_enough(store):
    limits = [Limit.parse("size<=0")]
    assert run(store, limits=limits, budget=30, first=[question(0)]).new == 30


def test_a_limit_on_what_nobody_measures_or_what_always_fails(store):
    with pytest.raises(Infeasible, match=r"3 evaluations gave no latency_ms \(none measures latency_ms\)"):
        run(store, limits=[Limit.parse("latency_ms<=3")], patience=3)
    with pytest.raises(Infeasible, match=r"1 evaluations gave no cost \(RuntimeError: three is broken\)"):
        run(store, lambda: Listed([question(3, 3)]), limits=[Limit.parse("cost<=3")], patience=1, name="failing")


# --- divergence


def test_a_strategy_that_answers_otherwise_is_replaced_and_told_everything(store):
    run(store, budget=8)
    recorder, seen = Recorder(), []

    def other():
        strategy = make(draws=1.0)  # another version of the same strategy
        seen.append(strategy)
        return strategy

    before = store.evaluations()
    outcome = run(store, other, recorder, budget=20)
    [event] = recorder.of(loop.Diverged)
    assert "proposes x=" in event.reason
    assert "where it proposed x=" in event.reason
    assert len(seen) == 2
    assert seen[-1].told[: len(before)] == before
    assert outcome.new == 20
    assert len(recorder.asked) == len(set(recorder.asked)) == 12
    assert set(recorder.asked).isdisjoint(point(e) for e in before)

    recorder = Recorder()
    assert run(store, lambda: make(draws=1.0), recorder, budget=25).new == 25
    assert recorder.of(loop.Diverged) == [], "from the restart on it asks the same"
    recorder = Recorder()
    assert run(store, make, recorder, budget=30).new == 30
    assert len(recorder.of(loop.Diverged)) == 1
    assert [line.kind for line in store.journal("search").lines].count("restart") == 2


def test_a_strategy_that_proposes_less_diverges_too(store):
    run(store, budget=4)
    recorder = Recorder()
    outcome = run(store, Listed, recorder, budget=9)
    assert "proposes nothing where it proposed x=" in recorder.of(loop.Diverged)[0].reason
    assert outcome.reason == "finished"


def test_what_waits_survives_a_divergence(store):
    recorder = Recorder()
    run(store, recorder=recorder, batch=6, stop=lambda: len(recorder.asked) >= 3)
    waiting = store.journal("search").lines[0].proposals[3:]
    again = Recorder()
    run(store, lambda: make(draws=0.9), again, batch=6)
    assert len(again.of(loop.Diverged)) <= 1
    assert again.asked[: len(waiting)] == [point(p) for p in waiting]


def test_extras_must_be_plain(store):
    with pytest.raises(UserError, match="plain numbers"):
        run(store, lambda: Listed([question(1, thing=np.float32(1))]))
