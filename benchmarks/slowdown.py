"""How far off a ratio is while the machine is busy, for networks from 10 microseconds to 5 milliseconds.

python benchmarks/slowdown.py [--json] [--minutes 4] [--on onnxruntime:threads=1]

Measures six networks in turns for as long as it is told, on a machine that is used for other things meanwhile, and
sorts the measurements by how much longer the reference took than on a quiet machine. The truth is the median ratio of
those with a slow-down below 1.08. Told are the errors, and how many intervals hold the truth.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import nn

from archsmith.hardware import Measurement, Meter, environment, open_device
from archsmith.hardware.statistics import trimmed_mean

QUIET = 1.08
EDGES = (1.0, QUIET, 1.15, 1.25, 1.4, 2.0, np.inf)


def convolutional(width: int, depth: int, size: int) -> tuple[nn.Module, tuple[torch.Tensor]]:
    """A chain of convolutions for grey images, and an input."""
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
    for _ in range(depth):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]
    return nn.Sequential(*layers).eval(), (torch.zeros(1, 1, size, size),)


def networks() -> list[tuple[nn.Module, tuple[torch.Tensor]]]:
    """From a few microseconds to a few milliseconds on a processor of 2020."""
    small = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    shapes = ((8, 2, 8), (16, 4, 8), (32, 6, 12), (48, 8, 16), (64, 8, 28))
    return [(small, (torch.zeros(1, 16),)), *(convolutional(*shape) for shape in shapes)]


def slowdown(found: Measurement) -> float:
    """Time of the reference over its time on a quiet machine, by the clock that counted."""
    return trimmed_mean(np.array(found.raw[f"reference_{found.clock}"])) / found.anchor_ms


def told(found: list[Measurement]) -> dict[str, object]:
    """Errors of one network's measurements by how busy the machine was."""
    slow = np.array([slowdown(m) for m in found])
    ratios = np.array([m.ratio for m in found])
    truth = float(np.median(ratios[slow < QUIET])) if (slow < QUIET).any() else float("nan")
    rows = []
    for low, high in itertools.pairwise(EDGES):
        inside = [m for m, s in zip(found, slow, strict=True) if low <= max(s, EDGES[0]) < high]
        if not inside:
            continue
        errors = np.array([m.ratio / truth - 1 for m in inside])
        held = [m.low <= truth * m.anchor_ms <= m.high for m in inside]
        rows.append(
            {
                "slowdown": f"{low:g} to {high:g}",
                "measurements": len(inside),
                "median error": round(float(np.median(errors)), 3),
                "least": round(float(errors.min()), 3),
                "greatest": round(float(errors.max()), 3),
                "held": round(float(np.mean(held)), 3),
                "half interval": round(float(np.median([(m.high - m.low) / 2 / m.latency_ms for m in inside])), 3),
                "seconds": round(float(np.median([m.seconds for m in inside])), 2),
            }
        )
    return {"latency_ms": round(float(np.median([m.latency_ms for m in found])), 4), "by slowdown": rows}


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--on", default="onnxruntime:threads=1")
    args = parser.parse_args()
    torch.manual_seed(0)
    device = open_device(args.on)
    calls = [device.prepare(module, inputs) for module, inputs in networks()]
    found: list[list[Measurement]] = [[] for _ in calls]
    with Meter(device) as meter:
        end = time.monotonic() + 60 * args.minutes
        while time.monotonic() < end:
            for measurements, call in zip(found, calls, strict=True):
                measurements.append(meter.measure(call, "search"))
    result = {
        "settings": {"on": device.spec, "minutes": args.minutes, "effort": "search"},
        "environment": environment(),
        "networks": [told(measurements) for measurements in found],
    }
    if args.json:
        print(json.dumps(result, indent=1))
        return
    for network in result["networks"]:
        print(f"{network['latency_ms']} ms")
        for row in network["by slowdown"]:
            print("  ", ", ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
