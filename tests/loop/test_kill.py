"""Kill it anywhere: nothing finished is lost or doubled, and the search ends as if it had never been killed."""

import json
import multiprocessing
import signal
import time

import numpy as np
import pytest

from archsmith.evaluation import costs
from archsmith.store import Store
from archsmith.testing import scripted

BUDGET, BATCH = 80, 4


# children are forked from a server that has everything imported, so that a restart takes milliseconds
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["pytest", "archsmith.testing.scripted"])


def start(where, side, exit_at=-1):
    child = PROCESSES.Process(target=scripted.main, args=(str(where), str(side), BUDGET, BATCH, exit_at))
    child.start()
    return child


def ended(child):
    child.join(60)
    code = child.exitcode
    child.close()
    return code


def told(side):
    """What the child had seen return from its strategy's ``tell``; a line that the kill cut off was not finished."""
    lines = side.read_text().splitlines(keepends=True) if side.exists() else []
    return [tuple(json.loads(line)) for line in lines if line.endswith("\n")]


def front(evaluations):
    """Values and architectures of the non-dominated evaluations."""
    points = costs(evaluations, scripted.OBJECTIVES)
    beaten = [((points <= a).all(1) & (points < a).any(1)).any() for a in points]
    best = [i for i, a in enumerate(points) if np.isfinite(a).all() and not beaten[i]]
    return [(points[i].tolist(), evaluations[i].architecture) for i in best]


def without_seconds(lines):
    return [{k: v for k, v in vars(line).items() if k != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def unbroken(memory):
    folder = memory / "unbroken"
    folder.mkdir()
    outcome = scripted.main(str(folder / "store.db"), str(folder / "side"), BUDGET, BATCH, -1, pause=lambda s: None)
    with Store.open(folder / "store.db") as store:
        return outcome, store.journal("search").lines


def as_if_unbroken(where, unbroken, side):
    outcome, lines = unbroken
    with Store.open(where) as store:
        journal = store.journal("search")
        assert without_seconds(journal.lines) == without_seconds(lines)
        assert tuple(journal.evaluations) == outcome.evaluations
        assert store.evaluations() == list(outcome.evaluations)
        assert len({e.identity for e in store.evaluations()}) == BUDGET == outcome.new
        assert front(store.evaluations()) == front(outcome.evaluations) != []
        seen = [line[:2] for line in told(side)]
        assert set(seen) <= {scripted.point(e) for e in store.evaluations()}


def kill_until_it_is_done(where, side, rng, kills):
    """SIGKILL at random moments; after each, everything the child had finished must be there, once."""
    killed = 0
    while True:
        child, before = start(where, side), len(told(side))
        if killed < kills:
            if rng.random() < 0.8:  # while it works: a few answers after the start
                while len(told(side)) < before + 1 + killed % 3 and child.is_alive():
                    time.sleep(0.001)
                time.sleep(rng.uniform(0, 0.015))
            else:  # while it starts or replays
                time.sleep(rng.uniform(0, 0.1))
            child.kill()
        code = ended(child)
        assert code in (0, -signal.SIGKILL)
        killed += code != 0
        if side.exists():  # the kill may have cut off a line, to which the next child would append
            text = side.read_text()
            side.write_text(text[: text.rfind("\n") + 1])
        if told(side):
            with Store.open(where) as store:
                kept = [scripted.point(e) for e in store.evaluations()]
            assert {line[:2] for line in told(side)} <= set(kept)
            assert len(kept) == len(set(kept))
        if code == 0:
            return killed


def test_twenty_two_kills_at_random_moments(folder, unbroken):
    where, side = folder / "store.db", folder / "side"
    rng = np.random.default_rng()  # another moment each time the suite runs
    assert kill_until_it_is_done(where, side, rng, kills=22) >= 22
    as_if_unbroken(where, unbroken, side)


@pytest.mark.postgres
def test_kills_on_postgres(folder, unbroken, postgres_url):
    side = folder / "side"
    assert kill_until_it_is_done(postgres_url, side, np.random.default_rng(), kills=3) >= 3
    as_if_unbroken(postgres_url, unbroken, side)


def test_death_inside_evaluations(folder, unbroken):
    """Each process dies between an ask and its tells, a different number of answers into the batch."""
    where, side = folder / "store.db", folder / "side"
    for exit_at in (0, 1, 3, 6, 0, 9):
        assert ended(start(where, side, exit_at)) == 9
    assert ended(start(where, side)) == 0
    as_if_unbroken(where, unbroken, side)


def test_a_kill_between_the_commit_and_the_return_of_tell(folder, unbroken, monkeypatch):
    """The answer is in the store but was not told: the replay tells it, nobody evaluates it again."""
    where, side = folder / "store.db", folder / "side"
    calls = []

    class Cut(BaseException):
        """Stands in for the kill: nothing in the loop may catch it."""

    class Mortal(scripted.Scripted.__mro__[1]):
        paper, handles = scripted.Scripted.paper, scripted.Scripted.handles

        def __init__(self, *args, **options):
            self.inner = make()

        def ask(self, n):
            if rng.random() < 0.02:
                raise Cut
            return self.inner.ask(n)

        def tell(self, evaluations):
            if rng.random() < 0.02:
                raise Cut
            self.inner.tell(evaluations)

    rng, make, evaluate = np.random.default_rng(3), scripted.make, scripted.evaluate
    monkeypatch.setattr(scripted, "make", Mortal)
    monkeypatch.setattr(scripted, "evaluate", lambda p: calls.append(scripted.point(p)) or evaluate(p))
    cuts = 0
    while True:
        try:
            scripted.main(str(where), str(side), BUDGET, BATCH, -1, pause=lambda s: None)
        except Cut:
            cuts += 1
            if cuts == 10:
                monkeypatch.setattr(scripted, "make", make)
        else:
            break
    assert cuts >= 3
    assert len(calls) == len(set(calls)), "nothing is evaluated twice"
    as_if_unbroken(where, unbroken, side)
