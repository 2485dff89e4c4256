"""The stages of a search after training: largest network, strategy, baseline, last check."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from archsmith import loop
from archsmith.architecture import Proposal
from archsmith.errors import Interrupted, RunMismatch
from archsmith.evaluation import Evaluation
from archsmith.evaluator.user_metric import UserMetric
from archsmith.hardware.named import recorded
from archsmith.metric import Limit
from archsmith.orchestration.finalising import finalise
from archsmith.orchestration.session import Session
from archsmith.orchestration.specification import SearchSpec
from archsmith.progress import Progress, Reporter
from archsmith.runs.context import SearchContext
from archsmith.runs.folder import RunFolder
from archsmith.runs.weights import WEIGHTS, save_weights
from archsmith.supernet import Supernet


def describe(context: SearchContext, data: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The settings that must be equal when a run is resumed, as plain data."""
    source, joint = context.source, context.joint
    return {
        "model": None if source is None else dict(source),
        "inputs": _shapes(context.supernet),
        "space": context.space.to_json(),
        **({} if joint is None else {"precisions": joint.to_json()}),
        "device": recorded(context.on),
        "data": dict(data),
        **more,
    }


def _shapes(supernet: Supernet) -> Any:
    """Shapes of the example inputs, by name where the model takes them by name."""
    shapes = [list(x.shape) if hasattr(x, "shape") else repr(x) for x in supernet.example_inputs]
    if supernet.input_names:
        return dict(zip(supernet.input_names, shapes, strict=True))
    return [s for s in shapes if isinstance(s, list)]


def conduct(
    spec: SearchSpec,
    run: RunFolder,
    context: SearchContext,
    metrics: Sequence[UserMetric],
    reporter: Reporter,
) -> None:
    """Run the stages after training: search, baseline, last check."""
    supernet = context.supernet
    _keep_weights(run, supernet)

    def waiting(event: Progress) -> None:
        reporter.on_progress(event)
        if reporter.stop():
            raise Interrupted(f"stopped while waiting for {run.record['store']}; the same command goes on from there")

    with ExitStack() as stack:
        store = stack.enter_context(run.store(writable=True, on_progress=waiting))
        session = Session(run, store, context, spec, metrics, reporter)
        session.instruments.open(stack)
        evaluate = session.composite()
        largest = session.anchor(evaluate)
        resolved = replace(spec, limits=_resolved(spec.limits, largest))
        first = [Proposal(arch) for arch in context.first(spec.seed)]
        session.run_journal("search", resolved, evaluate, first=first)
        if spec.baseline is not None:
            name, count = spec.baseline
            other = replace(resolved, strategy=name, options={}, budget=loop.Budget.parse(str(count)))
            session.run_journal(f"baseline-{name}", other, evaluate, stage="baseline")
        started = time.monotonic()
        finalise(session, resolved)
        run.spent("measuring the front again", time.monotonic() - started)


def _resolved(given: Sequence[Limit], largest: Evaluation) -> tuple[Limit, ...]:
    values = {name: value.value for name, value in largest.values.items()}
    return tuple(limit.resolve(values) for limit in given)


def _keep_weights(run: RunFolder, supernet: Supernet) -> None:
    """Save the weights once, or again where a file was lost; on resume, refuse other weights."""
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
