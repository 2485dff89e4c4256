"""What every store keeps to; subclass :class:`StoreConformance` and give the fixture ``open_store``."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from archsmith.architecture import Architecture, Proposal
from archsmith.errors import InvalidOption, RunLocked, RunMismatch
from archsmith.evaluation import Evaluation
from archsmith.store import Store
from archsmith.value import Value

OpenStore = Callable[[], Store]
"""Opens one and the same place each time it is called; the place is empty when a test begins."""


def proposal(x: int, *, space: str = "grid", epochs: int = 0, **extras: object) -> Proposal:
    """A question about point ``x``."""
    fidelity: dict[str, float | str] = {"epochs": epochs} if epochs else {}
    return Proposal(Architecture(space, (("x", x), ("kinds", ("é", 'a"b')))), fidelity, None, extras)


def evaluation(x: int, *, evaluator: str = "toy", seed: int = 0, **of_proposal: int | str) -> Evaluation:
    """An answer that differs in every number from those of other points."""
    value = Value(x / 3, "measured", x / 3 - 0.1, x / 3 + 0.1)
    return Evaluation(
        proposal=proposal(x, **of_proposal),  # type: ignore[arg-type]
        values={"cost": value, "size": Value(0.1 * x, "computed")},
        evaluator=evaluator,
        seed=seed,
        environment={"host": "é", "threads": [1, 2]},
        cost={"wall_s": 0.1 + x},
    )


def failure(x: int) -> Evaluation:
    """An answer without values."""
    return Evaluation(proposal=proposal(x), values={}, evaluator="toy", status="failed", reason="out of\nmemory ∞")


class StoreConformance:
    """Evaluations once, in commit order; journals line by line; one writer a run."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """How to open the place under test; to be given by the subclass."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Iterator[Store]:
        """An open, empty store."""
        with closing(open_store()) as store:
            yield store

    def test_gives_back_what_was_added(self, store: Store) -> None:
        """Every field survives, to the last bit of every number."""
        for given in (evaluation(1), failure(2), evaluation(3, epochs=4, seed=5)):
            assert store.add(given).to_json() == given.to_json() | {"environment": dict(given.environment)}
            found = store.get(given.identity)
            assert found is not None
            assert found.to_json() == given.to_json()

    def test_has_nothing_that_was_not_added(self, store: Store) -> None:
        """Other seeds, fidelities and evaluators are other evaluations."""
        store.add(evaluation(1))
        for other in (evaluation(2), evaluation(1, seed=1), evaluation(1, epochs=1), evaluation(1, evaluator="else")):
            assert store.get(other.identity) is None
            store.add(other)
        assert len(store.evaluations()) == 5

    def test_writes_an_identity_once(self, store: Store) -> None:
        """The first answer stands, whatever comes later."""
        first = store.add(evaluation(1))
        later = Evaluation(proposal=proposal(1), values={"cost": Value(99.0, "measured")}, evaluator="toy")
        assert store.add(later) == first
        assert store.evaluations() == [first]

    def test_keeps_commit_order_and_selects(self, store: Store) -> None:
        """Order of commits, not of keys; a space or an evaluator may be singled out."""
        for x in (5, 2, 9, 1):
            store.add(evaluation(x, evaluator="odd" if x % 2 else "even", space="a" if x < 5 else "b"))
        assert [e.architecture["x"] for e in store.evaluations()] == [5, 2, 9, 1]
        assert [e.architecture["x"] for e in store.evaluations(space="a")] == [2, 1]
        assert [e.architecture["x"] for e in store.evaluations("b", "odd")] == [5, 9]

    def test_survives_closing(self, open_store: OpenStore) -> None:
        """A second opening finds all evaluations, headers and lines."""
        with closing(open_store()) as store, store.journal("search").locked():
            journal = store.journal("search")
            with journal.locked():
                journal.begin({"seed": 1, "options": {"a": [1, 2]}}, {"numpy": "2"})
                journal.give([proposal(7)])
                journal.ask(2, [proposal(1), proposal(2, note="é")], seconds=0.5)
                told = journal.tell([evaluation(1)], seconds=1.5)
                journal.restart("why not")
                journal.note({"numpy": "3"})
            written = journal.lines
        with closing(open_store()) as store:
            journal = store.journal("search")
            assert store.journals() == ["search"]
            assert journal.header == {"seed": 1, "options": {"a": [1, 2]}}
            assert journal.noted == {"numpy": "3"}
            assert journal.lines == written
            assert [line.kind for line in written] == ["give", "ask", "tell", "restart", "noted"]
            assert [line.number for line in written] == [0, 1, 2, 3, 4]
            assert written[2] == told
            assert written[1].n == 2
            assert written[1].proposals[1].to_json() == proposal(2, note="é").to_json()
            assert [e.to_json() for e in journal.evaluations] == [evaluation(1).to_json()]

    def test_tells_known_evaluations_as_they_were_first(self, store: Store) -> None:
        """A line says how many of its evaluations are new; one answer may be told twice."""
        journal, first = store.journal("search"), store.add(evaluation(1))
        with journal.locked():
            journal.begin({})
            line = journal.tell([evaluation(1), evaluation(2), evaluation(2)])
        assert line.new == 1
        assert line.evaluations[0] == first
        assert [e.architecture["x"] for e in line.evaluations] == [1, 2, 2]
        assert [e.architecture["x"] for e in journal.evaluations] == [1, 2]

    def test_evaluation_and_line_are_one_transaction(self, store: Store) -> None:
        """What fails leaves neither an evaluation nor a line, and the journal goes on."""
        journal = store.journal("search")
        bad = Evaluation(proposal=proposal(2, thing=object()), values={"cost": Value(1.0, "table")}, evaluator="toy")
        with journal.locked():
            journal.begin({})
            with pytest.raises(InvalidOption, match="plain"):
                journal.tell([evaluation(1), bad])
            assert store.evaluations() == []
            assert journal.lines == []
            assert journal.tell([evaluation(1)]).number == 0

    def test_a_run_begins_once(self, store: Store) -> None:
        """A header is never replaced, and lines need one."""
        journal = store.journal("search")
        assert journal.header is None
        assert journal.noted == {}
        with journal.locked():
            with pytest.raises(RunMismatch, match="begin it first"):
                journal.ask(1, [])
            journal.begin({"seed": 1})
            with pytest.raises(RunMismatch, match="begun already"):
                journal.begin({"seed": 2})
        assert journal.header == {"seed": 1}

    def test_journals_are_apart(self, store: Store) -> None:
        """Evaluations are shared, lines are not."""
        for name in ("search", "baseline-random"):
            with store.journal(name).locked():
                journal = store.journal(name)
                with journal.locked():
                    journal.begin({"name": name})
                    journal.tell([evaluation(1)])
        assert store.journals() == ["search", "baseline-random"]
        assert [store.journal(name).lines[0].new for name in store.journals()] == [1, 0]
        assert len(store.evaluations()) == 1

    def test_a_second_writer_is_refused_by_name(self, open_store: OpenStore) -> None:
        """The lock is exclusive between stores, nests within one, and ends with its block."""
        with closing(open_store()) as one, closing(open_store()) as two:
            mine, theirs = one.journal("search"), two.journal("search")
            with mine.locked():
                with mine.locked():
                    mine.begin({})
                with pytest.raises(RunLocked, match=rf"process {os.getpid()} on "), theirs.locked():
                    pass
                assert theirs.header == {}, "readers need no lock"
                mine.ask(1, [])
            with theirs.locked():
                assert theirs.ask(1, []).number == 1
            with pytest.raises(RunLocked, match="only by the holder"):
                theirs.ask(1, [])

    def test_threads_may_open_and_add_at_once(self, open_store: OpenStore) -> None:
        """The tables are made once; no identity twice, none lost."""
        together = threading.Barrier(3)

        def add_all() -> None:
            together.wait()
            with closing(open_store()) as store:
                for x in range(15):
                    store.add(evaluation(x))

        threads = [threading.Thread(target=add_all) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with closing(open_store()) as store:
            assert sorted(e.architecture["x"] for e in store.evaluations()) == list(range(15))
