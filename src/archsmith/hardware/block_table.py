"""A lookup table of blocks: each measured once on the device, in the runtime that the network will run in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from archsmith.errors import DamagedFile, MeasurementFailed
from archsmith.export._inputs import batch_size, resized
from archsmith.files import home_folder, read_json, write_json
from archsmith.hardware.base import Call, Device
from archsmith.hardware.parts import Part, parts_of
from archsmith.hardware.protocol import Measurement

if TYPE_CHECKING:
    from torch import nn


class Measures(Protocol):
    """What a table needs of a meter."""

    @property
    def device(self) -> Device:
        """That blocks are prepared for."""

    @property
    def fingerprint(self) -> str:
        """Equal means comparable latencies."""

    def measure(self, call: Call, effort: str = "search") -> Measurement:
        """The latency of a prepared call."""


@dataclass(frozen=True)
class BlockSum:
    """What the blocks of one network take, measured one by one.

    Args:
        total_ms: sum over all calls of blocks.
        blocks: number of calls.
        measured: of them, how many kinds had not been in the table before.
    """

    total_ms: float
    blocks: int
    measured: int


class BlockTable:
    """Latencies of blocks on one device, kept in a file from run to run.

    A network's latency is not the sum of its blocks': runtimes fuse over their borders, and each file has costs of its
    own for entering and for changing layouts. :class:`archsmith.predictor.block_sum.BlockSum` learns the difference
    from a few whole networks.

    Args:
        meter: open, or one that opens itself when it first measures.
        folder: of tables; ``tables`` in :func:`~archsmith.files.home_folder` unless given.
        on_measured: told the path of every block that is measured.
    """

    def __init__(
        self, meter: Measures, *, folder: Path | None = None, on_measured: Callable[[str], None] | None = None
    ) -> None:
        self._meter = meter
        self._file = (folder or home_folder() / "tables") / f"{meter.fingerprint}.json"
        self._told = on_measured or (lambda _: None)
        self._known = _read(self._file)

    def __len__(self) -> int:
        return len(self._known)

    def total(
        self, network: nn.Module, example_inputs: tuple[Any, ...], paths: Sequence[str] | None = None
    ) -> BlockSum:
        """The sum over the blocks of ``network``, in which blocks that are not in the table are measured.

        Args:
            network: plain, in evaluation mode, inputs by position; lent.
            example_inputs: tensors of one call; the first dimension is resized to the device's batch.
            paths: of its blocks; see :func:`~archsmith.hardware.parts.parts_of`.

        Raises:
            MeasurementFailed: when the network or one of its blocks cannot be measured.
        """
        parts = parts_of(network, resized(example_inputs, _batch_of(self._meter.device)), paths)
        if not parts:
            raise MeasurementFailed("the network has no blocks that could be measured one by one")
        new = {part.key: part for part in parts if part.key not in self._known}
        for part in new.values():
            self._told(part.path)
            self._known[part.key] = self._time(part)
        if new:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._file, {"device": self._meter.device.spec, "latency_ms": self._known})
        return BlockSum(math.fsum(self._known[part.key] for part in parts), len(parts), len(new))

    def _time(self, part: Part) -> float:
        device = self._meter.device
        try:
            call = device.prepare(part.network, part.inputs, batch=batch_size(part.inputs))
            return self._meter.measure(call).latency_ms
        except Exception as error:  # also what a block of a user's network raises when it is run alone
            raise MeasurementFailed(f"block {part.path} cannot be measured alone: {error}") from error


def _batch_of(device: Device) -> int:
    return int(getattr(device, "batch", 1))


def _read(file: Path) -> dict[str, float]:
    if not file.exists():
        return {}
    way_out = "delete it, and the blocks are measured anew"
    found = read_json(file, what="table of blocks", way_out=way_out)
    try:
        return {str(key): float(ms) for key, ms in found["latency_ms"].items()}
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise DamagedFile(f"{file} is no table of blocks ({error}); {way_out}") from error
