"""The devices, candidates' files and evaluators of a search."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from archsmith.candidates.files import Candidates
from archsmith.candidates.quantised_files import QuantisedFiles
from archsmith.evaluator.accuracy import Accuracy
from archsmith.evaluator.base import Evaluator
from archsmith.evaluator.counts import Counts
from archsmith.evaluator.file_size import FileSize
from archsmith.evaluator.kit.composite import Composite
from archsmith.evaluator.latency import Latency
from archsmith.evaluator.peak_memory import PeakMemory
from archsmith.evaluator.predicted_latency import PredictedLatency
from archsmith.evaluator.user_metric import UserMetric
from archsmith.export.slicing.sliced_export import SlicedExport
from archsmith.hardware import Device, environment, open_device
from archsmith.hardware.meters import MeterOnUse, open_meters
from archsmith.hardware.named import TIMED_METRICS
from archsmith.metric import KNOWN_METRICS, on_device
from archsmith.orchestration.metrics import COMPUTED_METRICS
from archsmith.orchestration.specification import SearchSpec
from archsmith.progress import Reporter
from archsmith.runs.context import SearchContext
from archsmith.runs.folder import RunFolder


class Instruments:
    """Open devices and files of one search; :meth:`composite` builds its evaluators.

    Args:
        run: keeps anchors, measurements and notes.
        context: supernet, data, devices, and precisions where they are searched.
        spec: says which metrics are needed.
        metrics: the user's own.
        reporter: gets progress; asked whether to stop while another process measures on the same hardware.
    """

    def __init__(
        self,
        run: RunFolder,
        context: SearchContext,
        spec: SearchSpec,
        metrics: Sequence[UserMetric],
        reporter: Reporter,
    ) -> None:
        self._run, self._context, self._spec = run, context, spec
        self._own, self._reporter = metrics, reporter
        self._meters: dict[str, MeterOnUse] = {}
        self._files: dict[str, Candidates | QuantisedFiles] = {}
        self._quantised: QuantisedFiles | None = None
        self._learnt: dict[str, SlicedExport] = {}
        self.environment = environment()

    def open(self, stack: ExitStack) -> None:
        """Open the devices that objectives and limits need, with the run's anchors where it has them."""
        devices = {name: open_device(spec) for name, spec in self._context.on.items()}
        timed = {name: device for name, device in devices.items() if self._asked(name, TIMED_METRICS)}
        for name, device in timed.items():
            self._run.check_machine(name, device)
        self._meters = open_meters(
            timed,
            self._run.anchors,
            stack,
            keep=self._run.keep_anchor,
            reporter=self._reporter,
        )
        self._files = {name: self._files_for(device) for name, device in devices.items()}
        self._quantised = next((f for f in self._files.values() if isinstance(f, QuantisedFiles)), None)

    def export_each(self, reason: str) -> None:
        """Export each candidate by itself: to cut them out of one file takes more exports first than a few networks."""
        for files in self._files.values():
            (files.candidates if isinstance(files, QuantisedFiles) else files).reason = reason

    def composite(self, *, final: bool = False) -> Composite:
        """The evaluators of a candidate, or those of the last check."""
        wanted = self._spec.metrics
        parts = self._accuracies(final=final) if "accuracy_top1" in wanted else []
        supernet, val = self._context.supernet, self._context.val
        parts.extend(metric.bind(supernet, val, files=self._quantised) for metric in self._own)
        parts.append(Counts(supernet))
        parts.extend(
            self._computed(evaluator) for evaluator in COMPUTED_METRICS if {*COMPUTED_METRICS[evaluator]} & {*wanted}
        )
        for name, meter in self._meters.items():
            parts.append(self._latency(name, meter, final=final))
        for name, spec in self._context.on.items():
            if self._asked(name, ("peak_memory_mib",)):
                parts.append(PeakMemory(supernet, open_device(spec), name=name, files=self._files[name]))
        return Composite(parts, seed=self._spec.seed, environment=self.environment)

    def _asked(self, device: str, stems: Sequence[str]) -> list[str]:
        """Stems of a device's metrics that objectives or limits name."""
        return [stem for stem in stems if on_device(stem, device) in self._spec.metrics]

    def _files_for(self, device: Device) -> Candidates | QuantisedFiles:
        reporter = replace(self._reporter.at("device"), on_note=self._run.note)
        found = Candidates(self._context.supernet, device, reporter=reporter, learnt=self._learnt)
        joint = self._context.joint
        return found if joint is None else QuantisedFiles(joint, found, weight_bits=self._context.weight_bits)

    def _accuracies(self, *, final: bool) -> list[Evaluator]:
        found: list[Evaluator] = []
        for batches, test in ((self._context.val, False), (self._context.test, True)):
            if batches is None or (test and not final):
                continue
            named: dict[str, Any] = {"metric": KNOWN_METRICS["test_accuracy_top1"], "interval": True} if test else {}
            if self._quantised is not None:
                self._quantised.check(batches)
            found.append(Accuracy(self._context.supernet, batches, files=self._quantised, **named))
        return found

    def _computed(self, evaluator: type[Any]) -> Evaluator:
        supernet = self._context.supernet
        if evaluator is FileSize and (files := self._quantised or self._of_onnx()) is not None:
            return FileSize(supernet, files)
        return evaluator(supernet)  # type: ignore[no-any-return]

    def _of_onnx(self) -> Candidates | QuantisedFiles | None:
        """The files of the first device that runs ONNX files, so that a candidate is not exported twice."""
        found = (f for f in self._files.values() if isinstance(f, Candidates) and ".onnx" in f.device.files)
        return next(found, None)

    def _latency(self, name: str, meter: MeterOnUse, *, final: bool) -> Evaluator:
        metric, files = on_device("latency_ms", name), self._files[name]
        if self._spec.latency == "predicted" and not final and isinstance(files, Candidates):
            return self._predicted(metric, meter, files)
        effort: Literal["search", "final"] = "final" if final else "search"
        return Latency(
            self._context.supernet,
            meter,
            metric=metric,
            effort=effort,
            also=self._asked(name, TIMED_METRICS[1:]),
            candidates=files,
            on_measured=partial(self._run.keep_measurement, metric),
        )

    def _predicted(self, metric: str, meter: MeterOnUse, files: Candidates) -> PredictedLatency:
        """The predictor of a latency; its measurements are kept in the run, so that a resumed search predicts alike."""
        return PredictedLatency(
            self._context.supernet,
            meter,
            metric=metric,
            candidates=files,
            file=self._run.path / "latency" / f"{metric}.json",
            seed=self._spec.seed,
            reporter=self._reporter.at("device"),
        )
