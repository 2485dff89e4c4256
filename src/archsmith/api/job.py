"""The whole job of ``archsmith search``, from names to certified files."""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsmith import loop, method
from archsmith.api.exports import export_front, exports_intact
from archsmith.api.front import Front, read_front
from archsmith.api.run import Run
from archsmith.api.searching import CALIBRATION_BATCHES
from archsmith.candidates.precisions import OWNER, Precisions, joint_space, precisions_on
from archsmith.changes import differences
from archsmith.data import open_data
from archsmith.data.base import AnyData
from archsmith.errors import DamagedFile, Infeasible, Interrupted, InvalidData, InvalidOption, RunMismatch, UserError
from archsmith.evaluator.user_metric import UserMetric
from archsmith.hardware.named import On, named_devices, recorded
from archsmith.metric import check_known, limits, objectives
from archsmith.orchestration.conducting import conduct, describe
from archsmith.orchestration.metrics import available_metrics
from archsmith.orchestration.reachable import check_reachable
from archsmith.orchestration.specification import Latencies, SearchSpec
from archsmith.progress import Listener, Progress, Reporter, Stop, never, nobody
from archsmith.report.of_run import write_report
from archsmith.runs.context import EVALUATION_BATCH, SearchContext
from archsmith.runs.weights import WEIGHTS, load_weights
from archsmith.source.building import build, check_model, source_of
from archsmith.training.kit import loop as training
from archsmith.training.kit.optimizer import check_rates
from archsmith.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from archsmith.supernet import Supernet

TRAINING_DEFAULTS: Mapping[str, Any] = {
    "method": "sandwich",
    "epochs": 12,
    "batch_size": 64,
    "lr": None,
    "optimizer": "adamw",
}
"""Options of training that the user does not give."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Data, network, training, search and export, as plain values.

    Args:
        run: folder of the run; the same job resumes it.
        data: what :func:`archsmith.open_data` reads.
        data_options: of the data's format, such as the tokenizer of texts.
        model: a built-in network, ``timm/NAME``, ``torchvision/NAME``, ``hf/FOLDER``, or ``module:factory``.
        model_options: of the network.
        elastic: options of :func:`archsmith.elastic`, such as ``{"width": (0.5, 1.0)}`` or ``["width=0.5,1"]``, for a
            model that is made elastic.
        classes: how many there should be; checked against the data.
        resize: images to this height and width.
        images: use at most so many images or texts, in proportion to splits and classes.
        maximize: metrics to maximise.
        minimize: metrics to minimise.
        limits: hard bounds as text.
        metrics: ``module:attribute`` of :class:`UserMetric` objects.
        on: device to measure on, or several: see :func:`archsmith.search`.
        budget: evaluations or time.
        strategy: name of the strategy.
        options: of the strategy.
        baseline: another strategy to compare with, ``STRATEGY:EVALUATIONS``.
        latency: of candidates, ``"measured"`` or ``"predicted"``.
        precisions: of layers, where they are searched or fixed.
        seed: of everything random.
        train: how to train; ``"sandwich"`` unless given.
        epochs: passes over the data; 12 unless given.
        batch_size: inputs a step; 64 unless given.
        lr: peak learning rate; the optimiser's own default unless given.
        optimizer: ``"adamw"``, unless given, or ``"sgd"``.
        trained: another run whose trained supernet is used instead of training again; options of training, if given,
            must be equal to that run's.
        store: URL of a database instead of a file.
        export: whether to write the networks of the front as files.
    """

    run: Path
    data: str
    data_options: Mapping[str, Any] = field(default_factory=dict)
    model: str = "residual_convnet"
    model_options: Mapping[str, Any] = field(default_factory=dict)
    elastic: Mapping[str, Any] | Sequence[str] = field(default_factory=dict)
    classes: int | None = None
    resize: int | None = None
    images: int | None = None
    maximize: tuple[str, ...] = ("accuracy_top1",)
    minimize: tuple[str, ...] = ("latency_ms",)
    limits: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    on: On = "onnxruntime:threads=1"
    budget: str = "100"
    strategy: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    baseline: str | None = None
    latency: Latencies = "measured"
    precisions: Precisions | None = None
    seed: int = 0
    train: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    optimizer: str | None = None
    trained: Path | None = None
    store: str | None = None
    export: bool = True

    def execute(self, *, on_progress: Listener = nobody, stop: Stop = never) -> Front:
        """Do the whole job, or the rest of it.

        Raises:
            UserError: for anything unknown, contradictory or infeasible, before anything is spent where possible.
            Interrupted: when ``stop`` asked to stop; the same job goes on from there.
        """
        reporter = Reporter(on_progress, stop=stop)
        if (done := self._done()) is not None:
            return done
        metrics = [_user_metric(path) for path in self.metrics]
        devices = named_devices(self.on)
        spec = self._spec(metrics, devices)
        recorded(devices)  # opens the devices, so that errors come early
        data = self._read(reporter)
        source = source_of(self.model, self.model_options, data, self.elastic)
        supernet = build(source, seed=self.seed, reporter=reporter)
        joint = joint_space(supernet, spec.precisions, reporter=reporter)
        context = SearchContext(supernet, source, None, None, devices, joint=joint)
        spec.check(context.space)
        run = Run.begin(self.run, self._fixed(context, data), store=self.store)
        with run.writing():
            return self._run_stages(run, spec, context, data, metrics, reporter)

    def _run_stages(
        self,
        run: Run,
        spec: SearchSpec,
        context: SearchContext,
        data: AnyData,
        metrics: Sequence[UserMetric],
        reporter: Reporter,
    ) -> Front:
        """Check limits, train, search, export and report."""
        supernet = context.supernet
        for note in data.notes:
            run.note(note)
        # Quantised files need calibration batches, also when limits are checked before training.
        if context.joint is not None and not run.weights:
            self._calibrate(supernet, data)
        untrained = replace(context, data=run.fixed["data"], anchors=run.anchors)
        way_out = f"the same command with another --limit goes on in {self.run}"
        check_reachable(spec, run, untrained, reporter=reporter, way_out=way_out)
        with _timed(run, "training"):
            self._train(run, supernet, data, reporter)
        val, test = (data.batches(split, EVALUATION_BATCH) for split in ("val", "test"))
        context = replace(context, val=val, test=test, data=run.fixed["data"], anchors=run.anchors)
        try:
            conduct(spec, run, context, metrics, reporter)
            front = read_front(run, context=lambda: context)
        except Infeasible as error:
            reason = str(error).removesuffix(".")
            again = shlex.quote(str(self.run))
            raise Infeasible(f"{reason}. Another --run with --trained {again} need not train again") from error
        if self.export:
            with _timed(run, "exporting and certifying"):
                export_front(front, reporter=reporter)
        reporter.at("report").progress("writing report.html")
        write_report(run)
        reporter.at("report").progress("", 1, 1)
        run.keep(done=self._stamp())
        return front

    def _done(self) -> Front | None:
        """The front, if the same job was finished before and neither data nor files have changed since."""
        if not (self.run / "run.json").exists():
            return None
        run, stamp = Run.open(self.run), self._stamp()
        if not run.names.own or not stamp or run.done != stamp or not (self.run / "report.html").exists():
            return None
        front = run.front()
        return front if not self.export or exports_intact(front) else None

    def _stamp(self) -> str:
        """Sixteen hexadecimal digits of the job, the version, and names, sizes and times of the data's files.

        Empty for data without files, which must be read to be compared.
        """
        path = Path(self.data)
        if self.data not in method.names("data") and not path.exists():
            return ""
        files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path] * path.is_file()
        seen = [(str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        asked = {name: value for name, value in vars(self).items() if name != "run"}
        text = repr((__version__, asked, seen))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _spec(self, metrics: list[UserMetric], devices: Mapping[str, str]) -> SearchSpec:
        spec = SearchSpec(
            objectives=objectives(maximize=self.maximize, minimize=self.minimize),
            limits=limits(self.limits),
            strategy=self.strategy,
            options=dict(self.options),
            budget=loop.Budget.parse(self.budget),
            baseline=SearchSpec.parse_baseline(self.baseline),
            seed=self.seed,
            latency=self.latency,
            precisions=precisions_on(devices, self.precisions),
        )
        check_known(spec.metrics, available_metrics(metrics, devices))
        recipe = self._recipe()
        method.load("training", recipe["method"])
        check_rates(recipe["optimizer"], recipe["lr"], None)
        if self.trained is not None:
            _check_training(self.trained, self._given_training())
        method.check_options(method.load("strategy", self.strategy), self.options)
        check_model(self.model, self.elastic)
        if spec.baseline is not None:
            method.load("strategy", spec.baseline[0])
        return spec

    def _read(self, reporter: Reporter) -> AnyData:
        reporter.at("data").progress(f"reading {self.data}")
        data = open_data(
            self.data,
            resize=self.resize,
            seed=self.seed,
            limit=self.images,
            options=self.data_options,
            on_progress=lambda done, total: reporter.at("data").progress("decoding", done, total),
        )
        if self.classes is not None and self.classes != len(data.classes):
            raise InvalidData(
                f"--classes {self.classes} was given, but {self.data} has {len(data.classes)} classes "
                f"({', '.join(data.classes[:12])}); correct either"
            )
        sizes = ", ".join(f"{len(getattr(data, s))} {s}" for s in ("train", "val", "test"))
        reporter.at("data").progress(f"{sizes}, {len(data.classes)} classes, {data.form}", 1, 1)
        return data

    def _fixed(self, context: SearchContext, data: AnyData) -> dict[str, Any]:
        described = {
            "spec": self.data,
            "resize": self.resize,
            "images": self.images,
            "seed": self.seed,
            "fingerprint": data.fingerprint,
            **({"options": {k: _plain(v) for k, v in self.data_options.items()}} if self.data_options else {}),
        }
        if self.trained is not None:
            return describe(context, described, training=_training_of(self.trained))
        return describe(context, described, training=self._recipe())

    def _given_training(self) -> dict[str, Any]:
        """The options of training that were given."""
        given = (self.train, self.epochs, self.batch_size, self.lr, self.optimizer)
        return {name: value for name, value in zip(TRAINING_DEFAULTS, given, strict=True) if value is not None}

    def _recipe(self) -> dict[str, Any]:
        """All options of training."""
        return {**TRAINING_DEFAULTS, **self._given_training(), "seed": self.seed}

    def _train(self, run: Run, supernet: Supernet, data: AnyData, reporter: Reporter) -> None:
        """Train, or load saved weights; lost weights are restored from the trainer's checkpoint."""
        if run.weights:
            try:
                return load_weights(run, supernet)
            except DamagedFile as error:
                reporter.at("train").progress(f"{error}")
                for name in WEIGHTS:
                    (run.path / f"{name}.safetensors").unlink(missing_ok=True)
        if self.trained is not None:
            return _take_weights(self.trained, run, supernet)
        recipe = self._recipe()
        report = training.train(
            supernet,
            data.batches("train", recipe.pop("batch_size"), shuffle=True, seed=self.seed),
            **recipe,
            checkpoint=run.path / "training",
            on_progress=lambda event: reporter.on_progress(_training_progress(event)),
            stop=reporter.stop,
        )
        if not report.completed:
            raise Interrupted(f"stopped while training; the same command goes on from the last epoch in {run.path}")
        run.keep(training=[dict(row) for row in report.history])
        self._calibrate(supernet, data)
        return None

    def _calibrate(self, supernet: Supernet, data: AnyData) -> None:
        calibration = data.batches("train", EVALUATION_BATCH, shuffle=True, seed=self.seed)
        supernet.record_calibration([x for (x, _), _ in zip(calibration, range(CALIBRATION_BATCHES), strict=False)])


def _training_of(folder: Path) -> dict[str, Any]:
    """The options with which another run trained its supernet.

    Raises:
        UserError: for a run whose supernet was trained elsewhere.
    """
    found: dict[str, Any] | None = Run.open(folder).fixed.get("training")
    if found is None:
        raise UserError(f"{folder} was searched from Python and has trained nothing; name a run of `archsmith search`")
    return found


def _check_training(folder: Path, given: Mapping[str, Any]) -> None:
    """Refuse options of training that differ from those of the run whose supernet is used.

    Raises:
        InvalidOption: naming what differs.
    """
    trained = _training_of(folder)
    there = {**trained, "lr": check_rates(trained["optimizer"], trained["lr"], None)[0]}
    called = {name: {"method": "train", "batch_size": "batch-size"}.get(name, name) for name in given}
    if changed := differences({o: there[n] for n, o in called.items()}, {o: given[n] for n, o in called.items()}):
        raise InvalidOption(
            f"the supernet of {folder} was trained with other options (there -> given): {'; '.join(changed)}. Leave "
            f"these options out to use it as it is, or leave out --trained to train anew"
        )


def _take_weights(folder: Path, run: Run, supernet: Supernet) -> None:
    """Load the weights of the supernet that another run trained on the same data.

    Raises:
        RunMismatch: naming what differs in network or data.
        UserError: when that run has not ended its training.
    """
    other = Run.open(folder)
    same = ("model", "inputs", "data")
    here, there = ({**{name: r.fixed[name] for name in same}, "space": _own_choices(r)} for r in (run, other))
    if changed := differences(there, here):
        raise RunMismatch(f"the supernet of {folder} cannot be used (there -> here): {'; '.join(changed)}")
    if not other.weights:
        raise UserError(f"{folder} has not ended its training; give its `archsmith search` command again first")
    load_weights(other, supernet)
    run.keep(training=other.training)
    run.note(f"the trained supernet was taken from {folder}")


def precisions_asked(options: str | None, *, per: str, keep: Sequence[str]) -> Precisions | None:
    """The precisions that command-line options ask for; ``None`` without any.

    Raises:
        InvalidOption: for unknown precisions, and for ``--precisions-per`` or ``--keep-fp32`` without ``--precisions``.
    """
    if options is None and (keep or per != Precisions.per):
        raise InvalidOption("--precisions-per and --keep-fp32 need --precisions, such as --precisions fp32,int8")
    return Precisions.of(options, per=per, keep=tuple(keep))


def _own_choices(run: Run) -> list[Any]:
    """The choices of a run's supernet, without those of precisions, which weights do not depend on."""
    return [choice for choice in run.fixed["space"]["choices"] if choice["owner"] != OWNER]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _user_metric(path: str) -> UserMetric:
    """The :class:`UserMetric` that ``module:attribute`` names."""
    found: Any = method.import_object(path, what="metric", fits=_is_metric) if ":" in path else None
    if not isinstance(found, UserMetric):
        raise InvalidOption(f"--metric {path!r} must be module:attribute of an archsmith.UserMetric")
    return found


def _is_metric(thing: object) -> bool:
    return isinstance(thing, UserMetric)


@contextmanager
def _timed(run: Run, part: str) -> Iterator[None]:
    """Add the block's duration to the run's timing, even if it fails."""
    start = time.monotonic()
    try:
        yield
    finally:
        run.spent(part, time.monotonic() - start)


def _training_progress(event: training.TrainingProgress) -> Progress:
    losses = "  ".join(f"{part} {value:.3f}" for part, value in event.losses.items())
    done = (event.epoch - 1) * event.steps + event.step
    text = f"epoch {event.epoch}/{event.epochs}  loss {losses}"
    return Progress("train", text, done, event.epochs * event.steps, event.remaining_s)
