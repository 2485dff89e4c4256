"""The reference network that every candidate is timed against, and its time on a quiet machine."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from archsmith.errors import DamagedFile, MeasurementFailed
from archsmith.files import read_json, write_json
from archsmith.hardware.base import Call, Device
from archsmith.hardware.clock import Clock
from archsmith.hardware.machine import environment

if TYPE_CHECKING:
    from torch import nn

VERSION = 1
"""Changes whenever the network or its inputs change; anchors of different versions are not comparable."""
FILE = Path(__file__).with_name("reference.onnx")
"""The reference for devices that run files, for any batch: they need no torch."""


def reference_call(device: Device) -> Call:
    """The reference on ``device``, with the device's runtime, precision and threads.

    Its batch is not the device's, but one with which a call takes about a millisecond.
    """
    batch = device.reference_batch
    inputs = np.random.default_rng(0).standard_normal((batch, 3, 16, 16), dtype=np.float32)
    if FILE.suffix in device.files:
        return device.prepare_onnx(FILE.read_bytes(), (inputs,), batch=batch)
    return device.prepare(reference_module(), (inputs,), batch=batch)


def reference_module() -> nn.Module:
    """The reference as a module of PyTorch, in evaluation mode.

    Convolutions, a depthwise convolution, batch norms and a linear layer with weights from a fixed seed:
    about 2 million multiply-adds for each image of 16 x 16 pixels, small enough to stay in the caches.
    """
    import torch
    from torch import nn

    seeded = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        meta = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1, stride=2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, 10),
        )
    module = meta.to_empty(device="cpu").eval()
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():  # positive and near 1, as variances must be; the values do not matter
                tensor.copy_(1 + 0.05 * torch.randn(tensor.shape, generator=seeded))
            else:
                tensor.zero_()
    return module


def anchor_file(home: Path, device: Device) -> Path:
    """The file that keeps the reference's time on ``device`` when the machine is quiet."""
    return home / "anchors" / f"{device.fingerprint}-{VERSION}.json"


class _Anchor(TypedDict):
    """An anchor as JSON."""

    reference_ms: float


def read_anchor(file: Path) -> float | None:
    """Milliseconds, or ``None`` where none was measured yet.

    Raises:
        DamagedFile: when the file holds something else.
    """
    if not file.exists():
        return None
    way_out = "delete it and the reference is timed anew"
    kept: _Anchor = read_json(file, what="a reference anchor", way_out=way_out, form=_Anchor)
    found = float(kept["reference_ms"])
    if not 0 < found < math.inf:
        raise DamagedFile(f"{file} gives {found!r} ms for the reference; {way_out}")
    return found


def write_anchor(file: Path, device: Device, reference_ms: float) -> None:
    """Keep an anchor for later runs on this machine."""
    write_json(file, {"device": device.spec, "reference_ms": reference_ms, "environment": environment()})


def time_reference(device: Device, call: Call, clock: Clock, *, periods: int = 5, period_s: float = 0.15) -> float:
    """The shortest wall time of one call in milliseconds, over a few periods with pauses between them.

    Waiting for other programs only adds to a wall time, so the minimum over many repeats is close to the time on a
    quiet machine.

    Raises:
        MeasurementFailed: when the clock does not move.
    """
    shortest = math.inf
    for period in range(periods):
        if period:
            clock.sleep(0.05)
        end = clock.wall() + period_s
        repeats = 0
        while repeats < 30 or clock.wall() < end:
            device.synchronize()
            start = clock.wall()
            call()
            device.synchronize()
            shortest = min(shortest, clock.wall() - start)
            repeats += 1
    if not 0 < shortest < math.inf:
        raise MeasurementFailed(f"the reference network took {shortest} s on {device.spec}: the clock does not move")
    return 1e3 * shortest
