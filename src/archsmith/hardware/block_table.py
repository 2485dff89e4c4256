"""Lookup tables of blocks and of operators, each measured once on the device, in the runtime of the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypedDict, TypeVar

from archsmith.errors import DamagedFile, InvalidModel, MeasurementFailed
from archsmith.export.onnx_tools.inputs import batch_size, resized
from archsmith.files import home_folder, read_json, write_json
from archsmith.hardware.base import Call, Device
from archsmith.hardware.operators import Operator, operators_of
from archsmith.hardware.parts import Part, parts_of
from archsmith.hardware.protocol import Measurement
from archsmith.progress import SILENT, Reporter

if TYPE_CHECKING:
    from torch import nn


T = TypeVar("T", Part, Operator)


class Measures(Protocol):
    """The part of a meter that measures latencies."""

    @property
    def device(self) -> Device:
        """The device that networks are prepared for."""

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints mean comparable latencies."""

    def measure(self, call: Call, effort: str = "search") -> Measurement:
        """The latency of a prepared call."""


@dataclass(frozen=True)
class Sum:
    """The summed latency of the parts of one network.

    Args:
        total_ms: sum over all calls of blocks, or over all operators.
        parts: how many there are.
        measured: how many different ones were not in the table and had to be measured.
    """

    total_ms: float
    parts: int
    measured: int


class _Table:
    """Latencies of parts of networks on one device, kept in a file from run to run.

    Args:
        meter: open, or one that opens itself when it first measures.
        folder: of tables; ``tables`` in :func:`~archsmith.files.home_folder` unless given.
        reporter: gets progress for every part that is measured.
    """

    parts: ClassVar[str]

    def __init__(self, meter: Measures, *, folder: Path | None = None, reporter: Reporter = SILENT) -> None:
        self._meter = meter
        which = "" if self.parts == "blocks" else f"-{self.parts}"
        self._file = (folder or home_folder() / "tables") / f"{meter.fingerprint}{which}.json"
        self._reporter = reporter
        self._known = _read(self._file, self.parts)

    def __len__(self) -> int:
        return len(self._known)

    def _total(self, found: Sequence[T], named: Callable[[T], str], prepared: Callable[[T], Call]) -> Sum:
        """The sum over parts; those that are not in the table are measured."""
        if not found:
            raise MeasurementFailed(f"the network has no {self.parts} that could be measured one by one")
        new = {part.key: part for part in found if part.key not in self._known}
        for key, part in new.items():
            self._reporter.progress(named(part))
            try:
                self._known[key] = self._meter.measure(prepared(part)).latency_ms
            except Exception as error:  # also what a part of a user's network raises when it is run alone
                text = f"{self.parts.removesuffix('s')} {named(part)} cannot be measured alone: {error}"
                raise MeasurementFailed(text) from error
        if new:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._file, {"device": self._meter.device.spec, "latency_ms": self._known})
        return Sum(math.fsum(self._known[part.key] for part in found), len(found), len(new))


class BlockTable(_Table):
    """A table of blocks.

    A network's latency is not the sum of its blocks': runtimes fuse operators of neighbouring blocks, and each file
    has costs of its own for its start and for changes of layout.
    :class:`archsmith.evaluator.kit.latency_models.Mixture` learns the difference from a few whole networks.
    """

    parts = "blocks"

    def total(self, network: nn.Module, example_inputs: tuple[Any, ...], paths: Sequence[str] | None = None) -> Sum:
        """The sum over the blocks of ``network``; blocks that are not in the table are measured.

        Args:
            network: plain, in evaluation mode, inputs by position; not changed.
            example_inputs: tensors of one call; the first dimension is resized to the device's batch.
            paths: of its blocks; see :func:`~archsmith.hardware.parts.parts_of`.

        Raises:
            MeasurementFailed: when the network or one of its blocks cannot be measured.
        """
        device = self._meter.device
        found = parts_of(network, resized(example_inputs, _batch_of(device)), paths)

        def prepared(part: Part) -> Call:
            return device.prepare(part.network, part.inputs, batch=batch_size(part.inputs))

        return self._total(found, lambda part: part.path, prepared)


class OperatorTable(_Table):
    """A table of operators of ONNX files, each with the activation that runtimes fuse into it."""

    parts = "operators"

    def total(self, content: bytes) -> Sum:
        """The sum over the operators of a file; operators that are not in the table are measured.

        Raises:
            MeasurementFailed: when the file, or one of its operators, cannot be measured.
        """
        device = self._meter.device
        try:
            found = operators_of(content)
        except InvalidModel as error:
            raise MeasurementFailed(str(error)) from error

        def prepared(operator: Operator) -> Call:
            rows = next((x.shape[0] for x in operator.inputs if x.ndim), 1)
            return device.prepare_onnx(operator.content, operator.inputs, batch=rows)

        return self._total(found, lambda operator: operator.name, prepared)


class _Written(TypedDict):
    """A table as JSON."""

    latency_ms: dict[str, float]


def _batch_of(device: Device) -> int:
    return int(getattr(device, "batch", 1))


def _read(file: Path, parts: str) -> dict[str, float]:
    if not file.exists():
        return {}
    way_out = f"delete it, and the {parts} are measured anew"
    found: _Written = read_json(file, what=f"a table of {parts}", way_out=way_out, form=_Written)
    if wrong := [ms for ms in found["latency_ms"].values() if not 0 <= ms < math.inf]:
        raise DamagedFile(f"{file} is no table of {parts} (it gives {wrong[0]} ms for one); {way_out}")
    return {key: float(ms) for key, ms in found["latency_ms"].items()}
