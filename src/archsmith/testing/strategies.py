"""What every ask/tell strategy must do.

Subclass the suite with the name of yours::

class TestMine(StrategyConformance):
    name = "mypackage.mine:Mine"

:class:`StrategyCoreConformance` is its cheaper part, for every day: the same laws over few questions.
"""

from __future__ import annotations

import atexit
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsmith import method
from archsmith.architecture import Proposal
from archsmith.errors import InvalidArchitecture, InvalidOption
from archsmith.evaluation import Evaluation
from archsmith.metric import Limit, Objective
from archsmith.space import Choice, ChoiceSpace, Constraint
from archsmith.strategy.base import Recalling, Strategy
from archsmith.testing.toy import TOY_OBJECTIVES, toy_evaluate, toy_space
from archsmith.value import Value

Evaluate = Callable[[Proposal], Evaluation]

OBJECTIVES = (
    Objective("accuracy", "max"),
    Objective("latency", "min"),
    Objective("size", "min"),
    Objective("noise", "max"),
)
"""What :func:`evaluate_any` gives, for searches with one to four objectives."""


def constrained_space() -> ChoiceSpace:
    """Four ordinal choices that must not shrink, one of two options: 140 architectures."""
    widths = [Choice(f"w{i}", (1, 2, 3, 4)) for i in range(4)]
    rules = [Constraint(f"w{i} <= w{i + 1}") for i in range(3)]
    return ChoiceSpace([*widths, Choice("kind", ("a", "b", "c", "d"), "categorical")], rules)


def tiny_space() -> ChoiceSpace:
    """Seven architectures, one choice conditional."""
    return ChoiceSpace(
        [
            Choice("depth", (1, 2)),
            Choice("first", ("x", "y"), "categorical"),
            Choice("second", (3, 4, 5), when=("depth", (2,))),
        ],
        [Constraint("first != 'y' or depth == 1 or second > 3")],
    )


def evaluate_any(proposal: Proposal) -> Evaluation:
    """Four metrics of an architecture of any space: closed formulas of its text, without noise."""
    a = proposal.architecture
    digits = [int(a.key[i : i + 4], 16) / 65535 for i in range(0, 16, 4)]
    total = sum(float(v) if isinstance(v, int | float) else len(str(v)) for _, v in a.choices)
    values = {
        "accuracy": 60 + total + digits[0],
        "latency": 1 + total + 2 * digits[1],
        "size": 10 + total**2 + digits[2],
        "noise": digits[3],
    }
    return Evaluation(proposal=proposal, values={k: Value(v, "computed") for k, v in values.items()}, evaluator="any")


def fail(proposal: Proposal) -> Evaluation:
    """An evaluation that failed."""
    return Evaluation(proposal=proposal, values={}, evaluator="any", status="failed", reason="made to fail")


def run(strategy: Strategy, evaluate: Evaluate, *, budget: int, batch: int = 1) -> list[Evaluation]:
    """Ask and tell until ``budget`` evaluations are made or the strategy has finished."""
    done: list[Evaluation] = []
    while len(done) < budget and (asked := strategy.ask(min(batch, budget - len(done)))):
        answers = [evaluate(proposal) for proposal in asked]
        strategy.tell(answers)
        done += answers
    return done


def handled(name: str, objectives: Sequence[Objective]) -> Sequence[Objective]:
    """The first of ``objectives``, as many as the strategy can be asked for."""
    return objectives[: method.load("strategy", name).handles.objectives]


def trajectory(name: str, seed: int, budget: int, options: Mapping[str, Any] = MappingProxyType({})) -> list[str]:
    """The architectures, as text, that a strategy asks for on the toy problem."""
    strategy = method.make(
        "strategy", name, toy_space(), handled(name, TOY_OBJECTIVES), (), rng=np.random.default_rng(seed), **options
    )
    return [str(e.architecture) for e in run(strategy, toy_evaluate, budget=budget, batch=3)]


@cache
def _first_trajectory(name: str, budget: int, options: str) -> list[str]:
    """The trajectory of seed 3 that all others are compared with; ``options`` are JSON."""
    return trajectory(name, 3, budget, json.loads(options))


def asked_elsewhere(name: str, seed: int, budget: int, options: Mapping[str, Any]) -> list[str]:
    """The same as :func:`trajectory` in another process, whose hash seed is another one.

    One process answers for all strategies of a session, since most of its time is that of imports.

    Raises:
        RuntimeError: with the traceback of what went wrong there.
    """
    child = _elsewhere(str(Path.cwd()), os.environ.get("PYTHONPATH", ""))
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps([name, seed, budget, dict(options)]) + "\n")
    child.stdin.flush()
    answer = json.loads(child.stdout.readline() or '"it ended"')
    if isinstance(answer, str):
        raise RuntimeError(f"the other process could not ask {name}: {answer}")
    return list(answer)


_CHILD = """
import json, sys, traceback
from archsmith.testing.strategies import trajectory
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    try:
        found = trajectory(*json.loads(line))
    except Exception:
        found = traceback.format_exc()
    print(json.dumps(found), file=answers, flush=True)
"""


@cache
def _elsewhere(folder: str, path: str) -> subprocess.Popen[str]:
    """The process that answers, started in ``folder`` with ``path`` as its PYTHONPATH; it ends with this one."""
    environment = {**os.environ, "PYTHONHASHSEED": "1234", "PYTHONPATH": path}
    arguments = [sys.executable, "-c", _CHILD]
    child = subprocess.Popen(
        arguments, cwd=folder, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    atexit.register(child.communicate)
    return child


class StrategyCoreConformance:
    """The laws over few questions: what every strategy is held to, whatever was changed.

    Attributes:
        name: of the strategy, or ``module:Class``.
        options: for all tests; small ones keep them fast.
        budget: evaluations of most searches.
        steps: of a search that is recalled.
        batches: of the searches that use a tiny space up.
        histories: that are made up.
    """

    __test__ = False
    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    budget: ClassVar[int] = 12
    steps: ClassVar[int] = 14
    batches: ClassVar[Sequence[int]] = (3,)
    histories: ClassVar[int] = 3

    def __init_subclass__(cls) -> None:
        """Have pytest collect subclasses with a name, and not the suites where they are imported."""
        super().__init_subclass__()
        cls.__test__ = hasattr(cls, "name")

    def make(
        self, space: ChoiceSpace, objectives: Sequence[Objective], limits: Sequence[Limit] = (), seed: int = 0
    ) -> Strategy:
        """The strategy under test."""
        rng = np.random.default_rng(seed)
        return method.make("strategy", self.name, space, objectives, limits, rng=rng, **self.options)  # type: ignore[no-any-return]

    def toy(self, seed: int = 0, limits: Sequence[Limit] = ()) -> Strategy:
        """The strategy on the toy problem."""
        return self.make(toy_space(), handled(self.name, TOY_OBJECTIVES), limits, seed)

    def test_another_process_asks_the_same(self) -> None:
        """With another hash seed, so that no order of a set or a dictionary of objects decides."""
        there = asked_elsewhere(self.name, 3, self.budget, self.options)
        assert there == _first_trajectory(self.name, self.budget, json.dumps(dict(self.options)))

    def test_recalled_it_asks_what_it_would_have_asked(self) -> None:
        """One that was only told and reminded goes on as one that was asked; with failures, limits and strangers."""
        limits = (Limit("latency_ms", "<=", 1.5),)
        live, recalled = self.toy(5, limits), self.toy(5, limits)
        if not isinstance(recalled, Recalling):
            return
        assert isinstance(live, Recalling)
        for step in range(self.steps):
            n = (1, 3, 2)[step % 3]
            asked = live.ask(n)
            if step in (6, 13, 14, 21):
                assert [p.to_json() for p in recalled.ask(n)] == [p.to_json() for p in asked]
                assert recalled.generator.bit_generator.state == live.generator.bit_generator.state
            else:
                recalled.recall(n, asked)
                recalled.generator.bit_generator.state = live.generator.bit_generator.state
            strangers = toy_space().sample(1, np.random.default_rng(step)) if step % 5 == 4 else []
            answers = [(fail if int(p.architecture.key, 16) % 5 == 0 else toy_evaluate)(p) for p in asked[step % 2 :]]
            for strategy in (live, recalled):
                strategy.tell([*answers, *(toy_evaluate(Proposal(a)) for a in strangers)])

    def test_never_more_than_asked_for(self) -> None:
        strategy = self.toy()
        for n in (0, 1, 5, 2, 9, 1):
            asked = strategy.ask(n)
            assert len(asked) <= n
            strategy.tell([toy_evaluate(p) for p in asked])

    def test_asks_within_the_space_and_never_twice(self) -> None:
        for space in (toy_space(), constrained_space()):
            evaluate = toy_evaluate if space == toy_space() else evaluate_any
            objectives = TOY_OBJECTIVES if space == toy_space() else OBJECTIVES[:2]
            done = run(self.make(space, handled(self.name, objectives)), evaluate, budget=self.budget, batch=4)
            assert len(done) == self.budget
            assert all(space.contains(e.architecture) for e in done)
            assert len({e.architecture.key for e in done}) == len(done)

    def test_goes_on_while_answers_are_outstanding(self) -> None:
        """At least something is asked before the first answer, and nothing is asked twice meanwhile."""
        strategy = self.toy()
        asked = [p for _ in range(6) for p in strategy.ask(2)]
        assert asked
        assert len({p.architecture.key for p in asked}) == len(asked)

    def test_survives_failures_here_and_there(self) -> None:
        done = run(self.toy(), lambda p: (fail, toy_evaluate)[int(p.architecture.key, 16) % 2](p), budget=self.budget)
        assert len({e.architecture.key for e in done}) == self.budget

    def test_takes_what_it_did_not_ask_for(self) -> None:
        """As a resumed run tells it: what is known is not asked again."""
        space = toy_space()
        known = [toy_evaluate(Proposal(a)) for a in space.sample(30, np.random.default_rng(9))]
        strategy = self.toy()
        strategy.tell(known)
        strategy.tell(known[:3])
        done = run(strategy, toy_evaluate, budget=self.budget)
        assert len(done) == self.budget
        assert not {e.architecture.key for e in done} & {e.architecture.key for e in known}

    @pytest.mark.parametrize("m", [1, 2, 3, 4])
    def test_any_number_of_objectives(self, m: int) -> None:
        handles = method.load("strategy", self.name).handles
        if handles.objectives is not None and m > handles.objectives:
            with pytest.raises(InvalidOption):
                self.make(constrained_space(), OBJECTIVES[:m])
            return
        done = run(self.make(constrained_space(), OBJECTIVES[:m]), evaluate_any, budget=self.budget, batch=2)
        assert len({e.architecture.key for e in done}) == self.budget

    def test_limits_that_nothing_meets(self) -> None:
        limits = (Limit("latency_ms", "<=", 1e-6), Limit("accuracy_top1", ">=", 1e6), Limit("unheard_of", "<=", 1.0))
        done = run(self.toy(limits=limits), toy_evaluate, budget=self.budget)
        assert len({e.architecture.key for e in done}) == self.budget

    def test_a_tiny_space_is_used_up_and_then_finished(self) -> None:
        space = tiny_space()
        everything = {a.key for a in space.architectures(space.enumerate_rows())}
        for batch in self.batches:
            strategy = self.make(space, handled(self.name, OBJECTIVES[:2]))
            done = run(strategy, evaluate_any, budget=50, batch=batch)
            assert {e.architecture.key for e in done} == everything
            assert strategy.ask(4) == []

    def test_a_space_of_one(self) -> None:
        strategy = self.make(ChoiceSpace([Choice("only", (1,))]), handled(self.name, OBJECTIVES[:2]))
        assert len(run(strategy, evaluate_any, budget=5)) == 1

    def test_refuses_evaluations_of_another_space(self) -> None:
        strategy = self.toy()
        [stranger] = constrained_space().sample(1, np.random.default_rng(0))
        with pytest.raises(InvalidArchitecture):
            strategy.tell([evaluate_any(Proposal(stranger))])

    def test_any_history(self) -> None:
        """Random interleavings of asking, answering, failing and telling what was not asked."""
        step = st.tuples(st.sampled_from(["ask", "tell", "fail", "unasked", "again"]), st.integers(0, 4))

        @settings(max_examples=self.histories)
        @given(steps=st.lists(step, min_size=4, max_size=14), seed=st.integers(0, 99))
        def holds(steps: list[tuple[str, int]], seed: int) -> None:
            assert self._play(steps, seed) == self._play(steps, seed)

        holds()

    def test_other_seed_asks_otherwise(self) -> None:
        other = trajectory(self.name, 4, self.budget, self.options)
        assert other != _first_trajectory(self.name, self.budget, json.dumps(dict(self.options)))

    def test_survives_only_failures(self) -> None:
        done = run(self.toy(), fail, budget=self.budget, batch=3)
        assert len({e.architecture.key for e in done}) == self.budget

    def test_metrics_that_never_change(self) -> None:
        flat = {"accuracy_top1": Value(50.0, "measured"), "latency_ms": Value(0.0, "measured")}
        limits = (Limit("latency_ms", "<=", 0.0), Limit("accuracy_top1", ">=", 50.0))
        strategy = self.toy(limits=limits)
        done = run(strategy, lambda p: Evaluation(proposal=p, values=flat, evaluator="flat"), budget=self.budget)
        assert len({e.architecture.key for e in done}) == self.budget

    def test_leaves_the_global_generators_alone(self) -> None:
        before = (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]  # noqa: NPY002
        run(self.toy(), toy_evaluate, budget=self.budget)
        assert before == (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]  # noqa: NPY002

    def _play(self, steps: list[tuple[str, int]], seed: int) -> list[str]:
        space = constrained_space()
        strategy = self.make(space, handled(self.name, OBJECTIVES[:2]), (Limit("size", "<=", 60.0),), seed)
        waiting: list[Proposal] = []
        told: list[Evaluation] = []
        asked: list[str] = []
        for action, n in steps:
            answers: list[Evaluation] = []
            if action == "ask":
                new = strategy.ask(n)
                taken = {e.architecture.key for e in told} | {p.architecture.key for p in waiting}
                assert len(new) <= n
                assert not taken & {p.architecture.key for p in new}
                assert all(space.contains(p.architecture) for p in new)
                waiting += new
                asked += [p.architecture.key for p in new]
            elif action in ("tell", "fail"):
                evaluate = evaluate_any if action == "tell" else fail
                answers, waiting = [evaluate(p) for p in waiting[::-1][:n]], waiting[::-1][n:]
            elif action == "unasked":
                drawn = space.sample(n, np.random.default_rng([seed, len(told)]))
                answers = [evaluate_any(Proposal(a)) for a in drawn]
                keys = {a.key for a in drawn}
                waiting = [p for p in waiting if p.architecture.key not in keys]
            else:
                answers = told[:n]
            strategy.tell(answers)
            told += answers
        return asked


class StrategyConformance(StrategyCoreConformance):
    """All tests; pytest runs those of each subclass."""

    budget = 24
    steps = 22
    batches = (1, 3, 50)
    histories = 12

    def test_same_seed_asks_the_same(self) -> None:
        again = trajectory(self.name, 3, self.budget, self.options)
        assert again == _first_trajectory(self.name, self.budget, json.dumps(dict(self.options)))

    def test_answers_in_any_order(self) -> None:
        strategy, rng = self.toy(), np.random.default_rng(5)
        waiting: list[Proposal] = []
        asked: list[str] = []
        for _ in range(12):
            new = strategy.ask(3)
            assert new or waiting
            asked += [p.architecture.key for p in new]
            waiting = [(waiting + new)[i] for i in rng.permutation(len(waiting) + len(new))]
            strategy.tell([toy_evaluate(p) for p in waiting[:2]])
            waiting = waiting[2:]
        assert len(set(asked)) == len(asked) > 12

    def test_a_limit_does_not_drive_it_to_the_infeasible(self) -> None:
        """A quarter of the toy space is feasible; no strategy may do clearly worse than random draws."""
        drawn = [toy_evaluate(Proposal(a)) for a in toy_space().sample(400, np.random.default_rng(1))]
        limit = Limit("latency_ms", "<=", float(np.quantile([e.values["latency_ms"].high for e in drawn], 0.25)))
        done = run(self.toy(limits=(limit,)), toy_evaluate, budget=48)
        assert np.mean([e.feasible((limit,)) for e in done]) >= 0.12
