"""Searches a trained supernet for its Pareto front."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from archsmith import loop
from archsmith.api.front import Front, read_front
from archsmith.api.run import Run
from archsmith.candidates.fingerprints import fingerprint_of_batches
from archsmith.candidates.precisions import Precisions, joint_space, precisions_on
from archsmith.errors import InvalidOption, RunMismatch
from archsmith.evaluator.user_metric import UserMetric
from archsmith.hardware.named import On, named_devices
from archsmith.metric import Limit, check_known, limits, objectives
from archsmith.orchestration.conducting import conduct, describe
from archsmith.orchestration.metrics import available_metrics
from archsmith.orchestration.specification import Latencies, SearchSpec
from archsmith.progress import Listener, Reporter, Stop, never, nobody
from archsmith.runs.context import SearchContext
from archsmith.source.building import rebuild
from archsmith.supernet import Supernet
from archsmith.supernet.required import refuse_plain
from archsmith.training.kit.batch import check_loader

CALIBRATION_BATCHES = 8
"""Training batches that batch-norm statistics of every subnet are computed from."""


def search(  # noqa: PLR0913 - the whole specification, in one call
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
        val: batches ``(inputs, labels)`` of the validation split, on which the search measures accuracy.
        calibration: batches of *training* data; every subnet's batch-norm statistics are computed from the first 8.
        test: batches on which only the final networks' accuracy is measured.
        maximize: metrics such as ``"accuracy_top1"``.
        minimize: metrics such as ``"latency_ms"``, ``"params"``, ``"macs"``; ``docs/metrics.md`` has them all.
        limits: hard bounds such as ``"latency_ms<=3"``, or ``"latency_ms<=60%"`` of the largest network's.
        metrics: metrics of your own.
        on: device that latency is measured on; several as a list, ``NAME=SPEC`` each, or as a mapping name -> spec:
            then each has a metric of its own, ``latency_ms@NAME``.
        budget: new evaluations, or time such as ``"30m"``.
        strategy: a name (``archsmith methods strategy``) or ``module:Class``.
        options: of the strategy.
        baseline: ``"random:20"`` also evaluates 20 architectures of another strategy, for comparison.
        latency: ``"predicted"`` measures 24 networks and their blocks, and predicts the candidates' latencies from
            them; the networks of the front are still measured.
        precisions: of layers, such as ``("fp32", "int8")``: each layer's precision becomes a choice; networks are
            quantised with the calibration data, and measured as quantised; see :class:`Precisions`.
        seed: of everything random.
        run: folder where everything is stored; a temporary one unless given.
        model: ``"module:factory"`` that builds the supernet, so that the command line can export from the run.
        store: URL of a database to be used instead of a file in the run.
        on_progress: called with progress.
        stop: called between evaluations; true ends the search.

    Returns:
        The networks that, measured again, meet all limits and are dominated by no other one.

    Raises:
        UserError: for anything unknown, contradictory or infeasible; what was evaluated stays stored.
    """
    reporter = Reporter(on_progress, stop=stop)
    refuse_plain(supernet, "a search")
    check_loader(val, "val", "a search reads it for every network")
    if test is not None:
        check_loader(test, "test", "a search reads it for every network of the front")
    devices = named_devices(on)
    spec = SearchSpec(
        objectives=objectives(maximize=maximize, minimize=minimize),
        limits=_limits(limits),
        strategy=strategy,
        options=dict(options or {}),
        budget=loop.Budget.parse(str(budget)),
        baseline=SearchSpec.parse_baseline(baseline),
        seed=seed,
        latency=latency,
        precisions=precisions_on(devices, precisions),
    )
    if calibration is not None:
        supernet.record_calibration(_first(calibration, CALIBRATION_BATCHES))
    source = _source(model, supernet, reporter)
    folder = run if run is not None else Path(tempfile.mkdtemp(prefix="archsmith-"))
    check_known(spec.metrics, available_metrics(metrics, devices))
    joint = joint_space(supernet, spec.precisions, reporter=reporter)
    context = SearchContext(supernet, source, val, test, devices, joint=joint)
    spec.check(context.space)
    fixed = describe(context, {"fingerprint": fingerprint_of_batches(val)})
    begun = Run.begin(folder, fixed, store=store)
    from archsmith.orchestration.reachable import check_reachable

    with begun.writing():
        for note in _caveats(supernet, source):
            begun.note(note)
        check_reachable(spec, begun, context, reporter=reporter, way_out="pass other limits=")
        conduct(spec, begun, context, metrics, reporter)
        return read_front(begun, context=lambda: context)


def _caveats(supernet: Supernet, source: Mapping[str, Any] | None) -> Iterator[str]:
    """Notes for readers of the results on how the search was called."""
    normalised = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in supernet.modules())
    if normalised and not supernet.calibration:
        yield (
            "no calibration batches were given, so all subnets share the batch-norm statistics of training, which fit "
            "none of them well; pass calibration=train_loader"
        )
    if source is None:
        yield (
            "searched from a live Python model: the command line cannot export from this run; "
            'give search(..., model="module:factory") a function that builds the supernet'
        )


def _limits(given: str | Limit | Sequence[str | Limit]) -> tuple[Limit, ...]:
    return limits(given)


def _first(batches: Iterable[Any], count: int) -> list[Any]:
    if not isinstance(batches, Iterator):  # an iterator, which can be read only once, is enough here
        check_loader(batches, "calibration", "")
    found = [batch for batch, _ in zip(batches, range(count), strict=False)]
    if not found:
        raise InvalidOption("calibration holds no batches; pass the training loader")
    return found


def _source(model: str | Mapping[str, Any] | None, supernet: Supernet, reporter: Reporter) -> dict[str, Any] | None:
    if model is None:
        return None
    source = {"factory": model, "options": {}} if isinstance(model, str) else dict(model)
    rebuilt = rebuild(source, reporter=reporter)
    if rebuilt.space.fingerprint != supernet.space.fingerprint:
        raise RunMismatch(f"model={model!r} builds another search space than the supernet that is searched")
    return source
