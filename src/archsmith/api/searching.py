"""Search a trained supernet for its Pareto front: anchors, strategy, baseline, last check."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import archsmith
from archsmith import loop
from archsmith import method as registry
from archsmith.api.finalising import finalise
from archsmith.api.front import Front
from archsmith.api.materials import WEIGHTS, Materials, rebuild, save_weights
from archsmith.api.progress import Listener, Progress, Stop, never, nobody
from archsmith.api.run import Run
from archsmith.architecture import Proposal
from archsmith.errors import EvaluationFailed, Interrupted, InvalidOption, RunMismatch
from archsmith.evaluation import Evaluation
from archsmith.evaluator._composite import Composite
from archsmith.evaluator._fingerprint import fingerprint_of_batches
from archsmith.evaluator.accuracy import Accuracy
from archsmith.evaluator.base import Evaluator
from archsmith.evaluator.counts import Counts
from archsmith.evaluator.latency import Latency
from archsmith.evaluator.user_metric import UserMetric
from archsmith.hardware import Call, Device, Measurement, Meter, environment, open_device
from archsmith.metric import Limit, Objective, check_known, limits, objectives
from archsmith.space import ChoiceSpace
from archsmith.store import Store
from archsmith.strategy.base import Strategy
from archsmith.supernet import Supernet

PATIENCE = 20
"""Evaluations after which some network must have met every limit."""
CALIBRATION_BATCHES = 8
"""Training batches that batch-norm statistics of every subnet are computed from."""


def search(  # noqa: PLR0913 - the whole question, in one call
    supernet: Supernet,
    val: Iterable[Any],
    *,
    calibration: Iterable[Any] | None = None,
    test: Iterable[Any] | None = None,
    maximize: str | Sequence[str] = (),
    minimize: str | Sequence[str] = (),
    limits: str | Limit | Sequence[str | Limit] = (),
    metrics: Sequence[UserMetric] = (),
    on: str = "onnxruntime:threads=1",
    budget: int | str = 100,
    strategy: str = "auto",
    options: Mapping[str, Any] | None = None,
    baseline: str | None = None,
    seed: int = 0,
    run: str | Path | None = None,
    model: str | Mapping[str, Any] | None = None,
    store: str | None = None,
    on_progress: Listener = nobody,
    stop: Stop = never,
) -> Front:
    """Search a trained supernet; the same call with the same ``run`` resumes it.

    Args:
        supernet: trained.
        val: batches ``(inputs, labels)`` of the validation split: all that the search judges accuracy on.
        calibration: batches from *training* data; the first 8 give every subnet its batch-norm statistics.
        test: batches that only the final networks are judged on.
        maximize: metrics such as ``"accuracy_top1"``.
        minimize: metrics such as ``"latency_ms"``, ``"params"``, ``"macs"``.
        limits: hard bounds such as ``"latency_ms<=3"``, or ``"latency_ms<=60%"`` of the largest network's.
        metrics: metrics of your own.
        on: device that latency is measured on.
        budget: new evaluations, or time such as ``"30m"``.
        strategy: a name (``archsmith methods strategy``) or ``module:Class``.
        options: of the strategy.
        baseline: ``"random:20"`` evaluates 20 architectures of another strategy beside, for comparison.
        seed: of everything random.
        run: folder where everything is stored; a temporary one unless given.
        model: ``"module:factory"`` that builds the supernet, so that the command line can export from the run.
        store: URL of a database to be used instead of a file in the run.
        on_progress: hears what is being done.
        stop: asked between evaluations whether to stop.

    Returns:
        The networks that were measured again, meet all limits and that no other one dominates.

    Raises:
        UserError: for anything unknown, contradictory or infeasible; what was evaluated stays stored.
    """
    question = Question(
        objectives=objectives(maximize=maximize, minimize=minimize),
        limits=_limits(limits),
        strategy=strategy,
        options=dict(options or {}),
        budget=loop.Budget.parse(str(budget)),
        baseline=Question.parse_baseline(baseline),
        seed=seed,
    )
    if calibration is not None:
        supernet.record_calibration(_first(calibration, CALIBRATION_BATCHES))
    source = _source(model, supernet, on_progress)
    folder = Path(run) if run is not None else Path(tempfile.mkdtemp(prefix="archsmith-"))
    materials = Materials(supernet, source, val, test, on)
    fixed = describe(supernet, source, on=on, data={"fingerprint": fingerprint_of_batches(val)})
    begun = Run.begin(folder, fixed, store=store)
    if not supernet.calibration and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in supernet.modules()):
        begun.note(
            "no calibration batches were given, so subnets use the batch-norm statistics that training left, which are "
            "those of no single subnet; pass calibration=train_loader"
        )
    if source is None:
        begun.note(
            "searched from a live Python model: the command line cannot export from this run; "
            'give search(..., model="module:factory") a function that builds the supernet'
        )
    return conduct(question, begun, materials, metrics, on_progress, stop)


@dataclass(frozen=True)
class Question:
    """What is searched for and how, checked."""

    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    strategy: str
    options: dict[str, Any]
    budget: loop.Budget
    baseline: tuple[str, int] | None
    seed: int

    @staticmethod
    def parse_baseline(text: str | None) -> tuple[str, int] | None:
        """Read ``STRATEGY:EVALUATIONS``.

        Raises:
            InvalidOption: for anything else.
        """
        if not text:
            return None
        name, _, count = text.rpartition(":")
        if not name or not count.isdigit() or int(count) < 1:
            raise InvalidOption(f"cannot read the baseline {text!r}; write STRATEGY:EVALUATIONS, such as random:20")
        return name, int(count)

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics that must be measured."""
        return list(dict.fromkeys([*(o.metric for o in self.objectives), *(x.metric for x in self.limits)]))

    def check(self, space: ChoiceSpace) -> None:
        """Build the strategies once, so that a wrong name or option is refused before anything is spent."""
        bounds = [replace(x, relative=False) for x in self.limits]  # what they are relative to is not known yet
        for name, options in [(self.strategy, self.options), *([(self.baseline[0], {})] if self.baseline else [])]:
            method = registry.load("strategy", name)
            most = method.handles.objectives
            if most is not None and len(self.objectives) > most:
                raise InvalidOption(f"{name} handles {most} objective(s), this search has {len(self.objectives)}")
            registry.make("strategy", name, space, self.objectives, bounds, rng=np.random.default_rng(0), **options)


def describe(
    supernet: Supernet, source: Mapping[str, Any] | None, *, on: str, data: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """What must be the same when a run is resumed, as plain data."""
    return {
        "model": None if source is None else dict(source),
        "inputs": _shapes(supernet),
        "space": supernet.space.to_json(),
        "device": open_device(on).spec,
        "data": dict(data),
        **more,
    }


def _shapes(supernet: Supernet) -> Any:
    """Shapes of the example inputs, by name where the model takes them so."""
    shapes = [list(x.shape) if hasattr(x, "shape") else repr(x) for x in supernet.example_inputs]
    if supernet.input_names:
        return dict(zip(supernet.input_names, shapes, strict=True))
    return [s for s in shapes if isinstance(s, list)]


def conduct(
    question: Question,
    run: Run,
    materials: Materials,
    metrics: Sequence[UserMetric],
    on_progress: Listener,
    stop: Stop,
) -> Front:
    """Everything after training: evaluations, baseline, last check."""
    supernet = materials.supernet
    check_known(question.metrics, available_metrics(metrics))
    question.check(supernet.space)
    _keep_weights(run, supernet)
    with ExitStack() as stack:
        store = stack.enter_context(run.store(create=True))
        session = Session(run, store, materials, question, metrics, on_progress, stop)
        session.open_meter(stack)
        evaluate = session.composite()
        largest = session.anchor(evaluate)
        resolved = replace(question, limits=_resolved(question.limits, largest))
        first = [Proposal(supernet.largest), Proposal(supernet.smallest)]
        session.run_journal("search", resolved, evaluate, first=first)
        if question.baseline is not None:
            name, count = question.baseline
            other = replace(resolved, strategy=name, options={}, budget=loop.Budget.parse(str(count)))
            session.run_journal(f"baseline-{name}", other, evaluate, stage="baseline")
        started = time.monotonic()
        front = finalise(session, resolved)
        run.spent("measuring the front again", time.monotonic() - started)
        return front


class MeterOnUse:
    """A meter whose anchor is known: it takes the device when it first has to measure, and keeps it."""

    def __init__(self, meter: Meter, stack: ExitStack) -> None:
        self._meter, self._stack, self.entered = meter, stack, False

    @property
    def device(self) -> Device:
        """That networks are prepared for."""
        return self._meter.device

    @property
    def fingerprint(self) -> str:
        """Of device and anchor."""
        return self._meter.fingerprint

    def measure(self, call: Call, effort: str = "search") -> Measurement:
        """The latency of a prepared call."""
        if not self.entered:
            self._stack.enter_context(self._meter)
            self.entered = True
        return self._meter.measure(call, effort=effort)


class Session:
    """The open store, meter and materials of one search, for as long as it lasts."""

    def __init__(
        self,
        run: Run,
        store: Store,
        materials: Materials,
        question: Question,
        metrics: Sequence[UserMetric],
        on_progress: Listener,
        stop: Stop,
    ) -> None:
        self.run, self.store, self.materials, self.question = run, store, materials, question
        self.user_metrics = [m.bind(materials.supernet, materials.val) for m in metrics]
        self.on_progress, self.stop = on_progress, stop
        self.meter: MeterOnUse | None = None
        self.environment = environment()

    def open_meter(self, stack: ExitStack) -> None:
        """Make the device ready, where latency is asked for; the run keeps the anchor that it began with.

        Once the anchor is known the device is taken only when something has to be measured: a finished
        search answers from the store.
        """
        if not any(name.partition("@")[0] == "latency_ms" for name in self.question.metrics):
            return
        meter = Meter(
            open_device(self.materials.on),
            anchor_ms=self.run.anchor_ms,
            on_message=lambda text: self.on_progress(Progress("device", text)),
            stop=self.stop,
        )
        self.meter = MeterOnUse(meter, stack)
        if self.run.anchor_ms is None:
            self.on_progress(Progress("device", f"taking {self.materials.on}"))
            stack.enter_context(meter)
            self.meter.entered = True
            self.run.keep(anchor_ms=meter.anchor_ms)
            self.on_progress(Progress("device", f"reference network: {meter.anchor_ms:.3g} ms", 1, 1))

    def composite(self, *, final: bool = False) -> Composite:
        """The evaluators of a candidate, or those of the last check."""
        supernet, wanted = self.materials.supernet, self.question.metrics
        parts: list[Evaluator] = []
        if self.materials.val is not None and "accuracy_top1" in wanted:
            parts.append(Accuracy(supernet, self.materials.val))
        if final and self.materials.test is not None and "accuracy_top1" in wanted:
            parts.append(Accuracy.on_test(supernet, self.materials.test))
        parts.extend(m for m in self.user_metrics)
        parts.append(Counts(supernet))
        if self.meter is not None:
            parts.append(Latency(supernet, self.meter, effort="final" if final else "search"))
        return Composite(parts, seed=self.question.seed, environment=self.environment)

    def anchor(self, evaluate: Composite) -> Evaluation:
        """The largest network's evaluation: what relative limits refer to, and proof that evaluating works.

        Raises:
            EvaluationFailed: when even the largest network cannot be evaluated.
        """
        proposal = Proposal(self.materials.supernet.largest)
        self.on_progress(Progress("search", "the largest network"))
        found = self.evaluated(evaluate, proposal)
        if not found.ok:
            raise EvaluationFailed(f"the largest network cannot be evaluated: {found.reason}")
        return found

    def evaluated(self, evaluate: Composite, proposal: Proposal) -> Evaluation:
        """From the store where it is known, else evaluated and stored."""
        a = proposal.architecture
        identity = (a.space, a.key, evaluate.fingerprint, proposal.fidelity_key, evaluate.seed)
        return self.store.get(identity) or self.store.add(evaluate(proposal))

    def run_journal(
        self,
        name: str,
        question: Question,
        evaluate: Composite,
        *,
        first: Sequence[Proposal] = (),
        stage: str = "search",
    ) -> loop.Outcome:
        """Run or resume one strategy until its budget is spent."""
        space = self.materials.supernet.space

        def make() -> Strategy:
            strategy: Strategy = registry.make(
                "strategy",
                question.strategy,
                space,
                question.objectives,
                question.limits,
                rng=np.random.default_rng([question.seed, len(stage)]),
                **question.options,
            )
            return strategy

        header = {
            "strategy": question.strategy,
            "options": {k: list(v) if isinstance(v, tuple) else v for k, v in question.options.items()},
            "seed": question.seed,
            "objectives": [str(o) for o in question.objectives],
            "limits": [x.to_json() for x in question.limits],
            "limits_as_written": [str(x) for x in self.question.limits],
            "evaluator": evaluate.fingerprint,
            "space": space.fingerprint,
        }
        started = time.monotonic()
        outcome = loop.search(
            make,
            evaluate,
            self.store.journal(self.run.journal_name(name)),
            header=header,
            noted={"budget": str(question.budget), "archsmith": archsmith.__version__, **self.environment["packages"]},
            limits=question.limits,
            budget=question.budget,
            evaluator=evaluate.fingerprint,
            seed=question.seed,
            first=first,
            patience=10**9 if stage == "baseline" else PATIENCE,  # a baseline may fail, a search may not
            on_event=loop_listener(stage, self, question),
            stop=self.stop,
        )
        self.run.spent(stage, time.monotonic() - started)
        if outcome.reason == "interrupted":
            raise Interrupted(
                f"stopped after {len(outcome.evaluations)} evaluations; the same command goes on from there"
            )
        return outcome


def loop_listener(stage: str, session: Session, question: Question) -> Callable[[loop.Event], None]:
    """Turn the loop's events into progress, and what a reader must know into notes of the run."""

    def hear(event: loop.Event) -> None:
        if isinstance(event, loop.Evaluated):
            e = event.evaluation
            shown = "  ".join(f"{o.metric} {e[o.metric]:.4g}" for o in question.objectives) if e.ok else e.reason
            done, total = (event.done, event.of) if event.of else (round(event.seconds), event.of_seconds)
            left = total and event.done and (total - done) * (event.seconds / event.done if event.of else 1)
            session.on_progress(Progress(stage, shown, done, total, left or None))
        elif isinstance(event, loop.Diverged):
            session.run.note(f"{stage}: the strategy was started afresh with everything known ({event.reason})")
        elif isinstance(event, loop.Noted):
            session.run.note(f"{stage}: resumed under other circumstances ({'; '.join(event.changes)})")
        elif isinstance(event, loop.Finished) and event.reason in ("known", "finished"):
            session.run.note(f"{stage}: {event.message}")

    return hear


def available_metrics(metrics: Sequence[UserMetric] = ()) -> list[str]:
    """Names that objectives and limits may use."""
    return ["accuracy_top1", "latency_ms", "params", "macs", *(m.name for own in metrics for m in own.metrics)]


def _limits(given: str | Limit | Sequence[str | Limit]) -> tuple[Limit, ...]:
    return limits(given)


def _resolved(given: Sequence[Limit], largest: Evaluation) -> tuple[Limit, ...]:
    values = {name: value.value for name, value in largest.values.items()}
    return tuple(limit.resolve(values) for limit in given)


def _first(batches: Iterable[Any], count: int) -> list[Any]:
    found = [batch for batch, _ in zip(batches, range(count), strict=False)]
    if not found:
        raise InvalidOption("calibration gives no batches; pass the training loader")
    return found


def _source(model: str | Mapping[str, Any] | None, supernet: Supernet, on_progress: Listener) -> dict[str, Any] | None:
    if model is None:
        return None
    source = {"factory": model, "options": {}} if isinstance(model, str) else dict(model)
    rebuilt = rebuild(source, on_progress=on_progress)
    if rebuilt.space.fingerprint != supernet.space.fingerprint:
        raise RunMismatch(f"model={model!r} builds another search space than the supernet that is searched")
    return source


def _keep_weights(run: Run, supernet: Supernet) -> None:
    """Save the weights once, or again where a file was lost; on resume, refuse others."""
    if not run.weights:
        save_weights(run, supernet)
        run.keep(weights=supernet.weights_fingerprint)
    elif run.weights == supernet.weights_fingerprint:
        if not all((run.path / f"{name}.safetensors").exists() for name in WEIGHTS):
            save_weights(run, supernet)
    else:
        raise RunMismatch(
            f"{run.path} was searched with other weights (fingerprint {run.weights}, now "
            f"{supernet.weights_fingerprint}); load {run.path / 'supernet.safetensors'}, or give another run"
        )
