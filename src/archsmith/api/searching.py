"""Search a trained supernet for its Pareto front: anchors, strategy, baseline, last check."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import archsmith
from archsmith import loop
from archsmith import method as registry
from archsmith.api.available import available_metrics
from archsmith.api.devices import On, named_devices, recorded
from archsmith.api.finalising import finalise
from archsmith.api.front import Front
from archsmith.api.instruments import Instruments
from archsmith.api.materials import WEIGHTS, Materials, joint_space, precisions_on, rebuild, save_weights
from archsmith.api.progress import Listener, Progress, Stop, never, nobody
from archsmith.api.question import Latencies, Question
from archsmith.api.run import Run
from archsmith.architecture import Proposal
from archsmith.errors import EvaluationFailed, Interrupted, InvalidOption, RunMismatch
from archsmith.evaluation import Evaluation
from archsmith.evaluator._composite import Composite
from archsmith.evaluator._fingerprint import fingerprint_of_batches
from archsmith.evaluator._precisions import Precisions
from archsmith.evaluator.user_metric import UserMetric
from archsmith.metric import Limit, check_known, limits, objectives
from archsmith.store import Store
from archsmith.strategy.base import Strategy
from archsmith.supernet import Supernet
from archsmith.supernet._refusals import refuse_plain
from archsmith.training._batch import check_loader

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
    on: On = "onnxruntime:threads=1",
    budget: int | str = 100,
    strategy: str = "auto",
    options: Mapping[str, Any] | None = None,
    baseline: str | None = None,
    latency: Latencies = "measured",
    precisions: str | Sequence[str] | Precisions | None = None,
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
        minimize: metrics such as ``"latency_ms"``, ``"params"``, ``"macs"``; ``docs/metrics.md`` has them all.
        limits: hard bounds such as ``"latency_ms<=3"``, or ``"latency_ms<=60%"`` of the largest network's.
        metrics: metrics of your own.
        on: device that latency is measured on; several as a list, ``NAME=SPEC`` each, or as a mapping by name: then
            each has a metric of its own, ``latency_ms@NAME``.
        budget: new evaluations, or time such as ``"30m"``.
        strategy: a name (``archsmith methods strategy``) or ``module:Class``.
        options: of the strategy.
        baseline: ``"random:20"`` evaluates 20 architectures of another strategy beside, for comparison.
        latency: ``"predicted"`` measures 24 networks and their blocks, and foretells the candidates' latencies from
            them; the networks of the front are measured all the same.
        precisions: of layers, such as ``("fp32", "int8")``: one for each layer joins the choices, networks are
            quantised with the calibration data, and judged and measured so; see :class:`Precisions`.
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
    refuse_plain(supernet, "a search")
    check_loader(val, "val", "a search reads it for every network")
    if test is not None:
        check_loader(test, "test", "a search reads it for every network of the front")
    devices = named_devices(on)
    question = Question(
        objectives=objectives(maximize=maximize, minimize=minimize),
        limits=_limits(limits),
        strategy=strategy,
        options=dict(options or {}),
        budget=loop.Budget.parse(str(budget)),
        baseline=Question.parse_baseline(baseline),
        seed=seed,
        latency=latency,
        precisions=precisions_on(devices, precisions),
    )
    if calibration is not None:
        supernet.record_calibration(_first(calibration, CALIBRATION_BATCHES))
    source = _source(model, supernet, on_progress)
    folder = run if run is not None else Path(tempfile.mkdtemp(prefix="archsmith-"))
    check_known(question.metrics, available_metrics(metrics, devices))
    joint = joint_space(supernet, question.precisions, on_progress=on_progress)
    materials = Materials(supernet, source, val, test, devices, joint=joint)
    fixed = describe(materials, {"fingerprint": fingerprint_of_batches(val)})
    begun = Run.begin(folder, fixed, store=store)
    from archsmith.api.reachable import check_reachable  # it tries networks in a session of this module

    with begun.writing():
        for note in _doubts(supernet, source):
            begun.note(note)
        check_reachable(question, begun, materials, on_progress=on_progress, stop=stop, way_out="pass other limits=")
        return conduct(question, begun, materials, metrics, on_progress, stop)


def _doubts(supernet: Supernet, source: Mapping[str, Any] | None) -> Iterator[str]:
    """What a reader of the results must know of how the search was called."""
    normalised = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in supernet.modules())
    if normalised and not supernet.calibration:
        yield (
            "no calibration batches were given, so subnets use the batch-norm statistics that training left, which are "
            "those of no single subnet; pass calibration=train_loader"
        )
    if source is None:
        yield (
            "searched from a live Python model: the command line cannot export from this run; "
            'give search(..., model="module:factory") a function that builds the supernet'
        )


def describe(materials: Materials, data: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What must be the same when a run is resumed, as plain data."""
    source, joint = materials.source, materials.joint
    return {
        "model": None if source is None else dict(source),
        "inputs": _shapes(materials.supernet),
        "space": materials.space.to_json(),
        **({} if joint is None else {"precisions": joint.to_json()}),
        "device": recorded(materials.on),
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
    check_known(question.metrics, available_metrics(metrics, materials.on))
    question.check(materials.space)
    _keep_weights(run, supernet)

    def waiting(event: Progress) -> None:
        on_progress(event)
        if stop():
            raise Interrupted(
                f"stopped while {run.record['store']} was waited for; the same command goes on from there"
            )

    with ExitStack() as stack:
        store = stack.enter_context(run.store(writable=True, on_progress=waiting))
        session = Session(run, store, materials, question, metrics, on_progress, stop)
        session.instruments.open(stack)
        evaluate = session.composite()
        largest = session.anchor(evaluate)
        resolved = replace(question, limits=_resolved(question.limits, largest))
        first = [Proposal(arch) for arch in materials.first(question.seed)]
        session.run_journal("search", resolved, evaluate, first=first)
        if question.baseline is not None:
            name, count = question.baseline
            other = replace(resolved, strategy=name, options={}, budget=loop.Budget.parse(str(count)))
            session.run_journal(f"baseline-{name}", other, evaluate, stage="baseline")
        started = time.monotonic()
        front = finalise(session, resolved)
        run.spent("measuring the front again", time.monotonic() - started)
        return front


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
        self.on_progress, self.stop = on_progress, stop
        self.instruments = Instruments(run, materials, question, metrics, on_progress, stop)

    def composite(self, *, final: bool = False) -> Composite:
        """The evaluators of a candidate, or those of the last check."""
        return self.instruments.composite(final=final)

    def anchor(self, evaluate: Composite) -> Evaluation:
        """The largest network's evaluation: what relative limits refer to, and proof that evaluating works.

        Raises:
            EvaluationFailed: when even the largest network cannot be evaluated.
        """
        proposal = Proposal(self.materials.largest)
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
        space = self.materials.space

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
            noted={
                "budget": str(question.budget),
                "archsmith": archsmith.__version__,
                **self.instruments.environment["packages"],
            },
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


def _said(evaluation: Evaluation, metric: str) -> str:
    """A value in a line of progress; one that was not measured or counted says so."""
    predicted = evaluation.values[metric].source == "predicted"
    return f"{metric} {evaluation[metric]:.4g}{' (predicted)' * predicted}"


def loop_listener(stage: str, session: Session, question: Question) -> Callable[[loop.Event], None]:
    """Turn the loop's events into progress, and what a reader must know into notes of the run."""

    def hear(event: loop.Event) -> None:
        if isinstance(event, loop.Evaluated):
            e = event.evaluation
            shown = "  ".join(_said(e, o.metric) for o in question.objectives) if e.ok else e.reason
            timed = event.of is None
            done, total = (round(event.seconds), event.of_seconds) if timed else (event.done, event.of)
            shown = f"{event.done} evaluation{'s' * (event.done != 1)}  {shown}" if timed else shown
            left = total and event.done and (total - done) * (1 if timed else event.seconds / event.done)
            session.on_progress(Progress(stage, shown, done, total, left or None, timed=timed))
        elif isinstance(event, loop.Replaying):
            done, total = event.done, event.total
            session.on_progress(Progress("replaying", f"lines of what the {stage} did before", done, total))
        elif isinstance(event, loop.Diverged):
            session.run.note(f"{stage}: the strategy was started afresh with everything known ({event.reason})")
        elif isinstance(event, loop.Noted):
            session.run.note(f"{stage}: resumed under other circumstances ({'; '.join(event.changes)})")
        elif isinstance(event, loop.Finished) and event.reason in ("known", "finished"):
            session.run.note(f"{stage}: {event.message}")

    return hear


def _limits(given: str | Limit | Sequence[str | Limit]) -> tuple[Limit, ...]:
    return limits(given)


def _resolved(given: Sequence[Limit], largest: Evaluation) -> tuple[Limit, ...]:
    values = {name: value.value for name, value in largest.values.items()}
    return tuple(limit.resolve(values) for limit in given)


def _first(batches: Iterable[Any], count: int) -> list[Any]:
    if not isinstance(batches, Iterator):  # one that can be read only once is enough here
        check_loader(batches, "calibration", "")
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
