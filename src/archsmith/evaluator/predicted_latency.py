"""Latency of a subnet, predicted from a few measured ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict, final, get_args

import numpy as np

from archsmith.architecture import Architecture, Proposal
from archsmith.candidates.files import Candidates
from archsmith.encoding.thermometer import Thermometer
from archsmith.errors import DamagedFile, InvalidOption, MeasurementFailed
from archsmith.evaluator.base import Evaluator
from archsmith.evaluator.kit.latency_models import AUTO_MODELS, Judged, Known, judged
from archsmith.evaluator.latency import Latency
from archsmith.export.onnx_tools.by_position import positional
from archsmith.files import read_json, write_json
from archsmith.fingerprint import fingerprint_of
from archsmith.hardware.block_table import BlockTable, Measures, OperatorTable, Sum
from archsmith.hardware.parts import block_paths
from archsmith.method import OURS
from archsmith.metric import KNOWN_METRICS, Metric
from archsmith.progress import SILENT, Reporter
from archsmith.supernet.supernet import Supernet
from archsmith.value import Value

By = Literal["auto", "blocks", "learned", "both", "operators"]
MIN_NETWORKS = 6
"""Fewest networks that are measured as a whole."""


@final
class PredictedLatency(Evaluator):
    """Time of one call of a subnet on a device, predicted with a 95 % interval; its source says that it is predicted.

    A few networks are measured as a whole: the smallest, the largest, and random ones. Three models learn from them,
    and the one with the best predictions of held-out networks is used: the sum over blocks that were measured one by
    one, corrected for effects between blocks; a Gaussian process over the choices; or a process over the residuals of
    the corrected sum. Latencies on another, known device are further inputs beside the blocks; ten networks are then
    enough.

    Args:
        supernet: from which subnets are extracted.
        meter: an open meter, or one that opens on first use.
        metric: ``latency_ms``, or ``latency_ms@NAME`` where several devices are asked for.
        by: ``"auto"``, or one of the models: ``"blocks"``, ``"learned"``, ``"both"``; or ``"operators"``: the corrected
            sum over all operators of the network's file, for networks without blocks.
        sample: networks that are measured as a whole.
        known: predictors of the same supernet's latency on other devices.
        table: of blocks, or of operators; the machine's own unless given.
        file: where the measured networks are stored, so that a resumed run predicts the same.
        seed: of the networks drawn.
        candidates: prepares subnets for the device of the meter; several evaluators may share it.
        reporter: gets progress.

    Raises:
        InvalidOption: for another model, a sample that is too small, operators on a device that runs no files, or a
            table of other parts.
    """

    paper = OURS
    depends_on = "architecture"

    def __init__(  # noqa: PLR0913 - keyword options, each with a default
        self,
        supernet: Supernet,
        meter: Measures,
        *,
        metric: str = "latency_ms",
        by: By = "auto",
        sample: int = 24,
        known: Sequence[PredictedLatency] = (),
        table: BlockTable | OperatorTable | None = None,
        file: Path | None = None,
        seed: int = 0,
        candidates: Candidates | None = None,
        reporter: Reporter = SILENT,
    ) -> None:
        if by not in get_args(By):
            raise InvalidOption(f"latency is predicted by {', '.join(get_args(By))}; got {by!r}")
        if sample < MIN_NETWORKS:
            raise InvalidOption(f"sample={sample}: at least {MIN_NETWORKS} networks are measured as a whole")
        if by == "operators" and ".onnx" not in meter.device.files:
            raise InvalidOption(f"operators are measured on devices that run ONNX files, not on {meter.device.spec}")
        if table is not None and (by == "operators") != isinstance(table, OperatorTable):
            raise InvalidOption(f"by={by!r} and a table of {table.parts} do not go together")
        self._supernet, self._meter, self._by, self._sample, self._seed = supernet, meter, by, sample, seed
        self._metric, self._others, self._table, self._file = metric, tuple(known), table, file
        self._codes, self._candidates, self._reporter = Thermometer(supernet.space), candidates, reporter
        self._paths: list[str] | None = None
        self._judged: Judged | None = None

    @property
    def metrics(self) -> Sequence[Metric]:
        return (replace(KNOWN_METRICS["latency_ms"], name=self._metric),)

    @property
    def fingerprint(self) -> str:
        whole = Latency(self._supernet, self._meter, metric=self._metric).fingerprint
        others = ",".join(other.fingerprint for other in self._others)
        return fingerprint_of("predicted", whole, self._by, self._sample, self._seed, others)

    @property
    def model(self) -> str:
        """The model that is used: ``"blocks"``, ``"learned"`` or ``"both"``."""
        return self._fitted().name

    @property
    def error(self) -> float:
        """Median relative error on measured networks that the model had not seen."""
        return self._fitted().error

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        del seed  # nothing is drawn
        [found] = self.predict([proposal.architecture])
        return {self._metric: found}

    def predict(self, architectures: Sequence[Architecture]) -> list[Value]:
        """The latency of each, in milliseconds.

        Raises:
            MeasurementFailed: where the networks to learn from, or one of their blocks, cannot be measured.
        """
        fitted = self._fitted()
        means, lows, highs = fitted.predict(self._known(architectures, blocks=fitted.name != "learned"))
        return [
            Value(float(m), "predicted", low=float(lo), high=float(hi))
            for m, lo, hi in zip(means, lows, highs, strict=True)
        ]

    def _fitted(self) -> Judged:
        if self._judged is None:
            measured = self._measured()
            latency = np.array(list(measured.values()))
            names: list[str] = list(AUTO_MODELS) if self._by == "auto" else [self._by]
            known, names = self._known_or_choices(list(measured), names)
            self._judged = judged(known, latency, names)
        return self._judged

    def _known_or_choices(self, architectures: list[Architecture], names: list[str]) -> tuple[Known, list[str]]:
        """The known values, and the models that can use them: only the choices' if no block can be measured."""
        try:
            return self._known(architectures, blocks=names != ["learned"]), names
        except MeasurementFailed:
            if self._by != "auto" or self._others:
                raise
            return self._known(architectures, blocks=False), ["learned"]

    def _known(self, architectures: Sequence[Architecture], *, blocks: bool) -> Known:
        rows = self._supernet.space.rows(architectures)
        codes = self._codes.encode(rows).astype(float)
        alike = np.eye(max(self._codes.alike.max() + 1, 0))[self._codes.alike] * (self._codes.alike >= 0)[:, None]
        columns = [[v.value for v in other.predict(architectures)] for other in self._others]
        number = np.zeros(len(rows))
        if blocks and not self._others:
            sums = [self._parts(a, i, len(architectures)) for i, a in enumerate(architectures)]
            columns.append([found.total_ms for found in sums])
            number = np.array([float(found.parts) for found in sums])
        stacked = np.array(columns, dtype=float).T.reshape(len(rows), len(columns))
        return Known(codes, self._codes.groups, codes @ alike, stacked, number)

    def _parts(self, architecture: Architecture, done: int, total: int) -> Sum:
        which = "operators" if self._by == "operators" else "blocks"
        if self._table is None:
            self._table = (OperatorTable if which == "operators" else BlockTable)(self._meter)
        if total > 1:
            self._reporter.progress(f"measuring {which} one by one", done, total)
        if isinstance(self._table, OperatorTable):
            self._candidates = self._candidates or Candidates(self._supernet, self._meter.device)
            return self._table.total(self._candidates.content(architecture))
        if self._paths is None:
            self._paths = block_paths(self._extracted(self._supernet.largest))
        return self._table.total(self._extracted(architecture), self._supernet.inputs_of(architecture), self._paths)

    def _extracted(self, architecture: Architecture) -> Any:
        return positional(self._supernet.extract(architecture), self._supernet.input_names).eval()

    def _drawn(self) -> list[Architecture]:
        """The smallest, the largest and random ones, each once."""
        space, rng = self._supernet.space, np.random.default_rng(self._seed)
        found = {a.key: a for a in (self._supernet.smallest, self._supernet.largest)}
        for architecture in space.sample(20 * self._sample, rng):
            if len(found) == self._sample:
                break
            found.setdefault(architecture.key, architecture)
        return list(found.values())

    def _measured(self) -> dict[Architecture, float]:
        """Networks measured as a whole, from the file where it holds them."""
        kept: dict[str, float] = {}
        if self._file is not None and self._file.exists():
            kept = _kept(self._file, self.fingerprint)
        latency = Latency(self._supernet, self._meter, metric=self._metric, candidates=self._candidates)
        found: dict[Architecture, float] = {}
        for architecture in self._drawn():
            self._reporter.progress("measuring networks that latencies are predicted from", len(found), self._sample)
            if architecture.key not in kept:
                value = latency.measure(Proposal(architecture), seed=0)[self._metric]
                kept[architecture.key] = value.value
                if self._file is not None:
                    self._file.parent.mkdir(parents=True, exist_ok=True)
                    write_json(self._file, {"evaluator": self.fingerprint, "latency_ms": kept})
            found[architecture] = kept[architecture.key]
        return found


class _Kept(TypedDict):
    """Measured latencies as JSON."""

    evaluator: str
    latency_ms: dict[str, float]


def _kept(file: Path, fingerprint: str) -> dict[str, float]:
    way_out = "delete it to measure its networks again"
    data: _Kept = read_json(file, what="measured latencies", way_out=way_out, form=_Kept)
    if wrong := [ms for ms in data["latency_ms"].values() if not 0 <= ms < math.inf]:
        raise DamagedFile(f"{file} holds no measured latencies (one is {wrong[0]} ms); {way_out}")
    return {k: float(v) for k, v in data["latency_ms"].items()} if data["evaluator"] == fingerprint else {}
