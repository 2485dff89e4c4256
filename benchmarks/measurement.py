"""How well a measured latency repeats, on a quiet and on a busy machine; what one evaluation spends on other things.

python benchmarks/measurement.py [--json] [--trials 40] [--effort search] [--on onnxruntime:threads=1,batch=64]

Goals: the ratio of two networks repeats within 2 % in at least 95 % of 40 trials while another process keeps a core
busy, and within 1 % on a quiet machine. Two ratios are told: that of a network to the reference network, which is one
measurement, and that of two networks, each measured by itself, whose errors add up.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from archsmith.hardware import Meter, environment, open_device
from archsmith.hardware.base import Call, Device
from archsmith.hardware.machine import load_average
from archsmith.method import load

SPEC = "onnxruntime:threads=1,batch=64"


def supernet() -> object:
    """The network of the demo: residual convolutional, 8 x 8 grey images."""
    torch.manual_seed(0)
    return load("supernet.networks", "residual_convnet").build(channels=1, classes=10, image_size=8).eval()


@contextmanager
def busy_core() -> Iterator[None]:
    """Another process that never rests."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        try:
            yield
        finally:
            neighbour.kill()


def repeatability(meter: Meter, first: Call, second: Call, *, trials: int, effort: str) -> dict[str, float]:
    """The ratio of two networks, measured again and again: how many trials come within 2 % of the median."""
    load = load_average() or float("nan")
    found = [(meter.measure(first, effort), meter.measure(second, effort)) for _ in range(trials)]
    ratios = np.array([a.latency_ms / b.latency_ms for a, b in found])
    middle = float(np.median(ratios))
    one = np.array([a.latency_ms for a, _ in found])
    to_reference = np.array([a.ratio for a, _ in found])
    held = [a.low <= np.median(one) <= a.high for a, _ in found]
    raw = np.array([a.wall_p50_ms / b.wall_p50_ms for a, b in found])
    return {
        "trials": trials,
        "to_the_reference_within_1_percent": within(to_reference, 0.01),
        "to_the_reference_within_2_percent": within(to_reference, 0.02),
        "of_two_within_1_percent": within(ratios, 0.01),
        "of_two_within_2_percent": within(ratios, 0.02),
        "cv_percent_of_two": 100 * float(np.std(ratios) / middle),
        "cv_percent_of_raw_wall_medians": 100 * float(np.std(raw) / np.median(raw)),
        "latency_cv_percent": 100 * float(np.std(one) / np.median(one)),
        "intervals_that_hold_the_median_percent": 100 * float(np.mean(held)),
        "half_interval_percent": 50 * statistics.median((a.high - a.low) / a.latency_ms for a, _ in found),
        "seconds_each": statistics.median(a.seconds for a, _ in found),
        "groups_each": statistics.mean(len(a.groups) for a, _ in found),
        "reference_slowdown": statistics.median(a.reference_ms / a.anchor_ms for a, _ in found),
        "load_before": load,
        "load_after": load_average() or float("nan"),
    }


def within(ratios: np.ndarray, share: float) -> float:
    """Percent of ratios that lie within such a share of their median."""
    return 100 * float(np.mean(np.abs(ratios / np.median(ratios) - 1) <= share))


def shares(net: object, device: Device, meter: Meter, *, networks: int) -> dict[str, float]:
    """CPU seconds of one candidate's evaluation by part, and the share that is not measuring."""
    rng = np.random.default_rng(1)
    parts: dict[str, list[float]] = {"extract": [], "export_and_session": [], "measure": []}
    for _ in range(networks):
        times = [time.process_time()]
        module = net.extract(net.random(rng))
        times.append(time.process_time())
        call = device.prepare(module, net.example_inputs)
        times.append(time.process_time())
        meter.measure(call)
        times.append(time.process_time())
        for part, seconds in zip(parts, np.diff(times), strict=True):
            parts[part].append(float(seconds))
    found = {part: statistics.median(seconds) for part, seconds in parts.items()}
    total = sum(found.values())
    return {**found, "not_measuring_percent": 100 * (1 - found["measure"] / total)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--effort", default="search", choices=["search", "final"])
    parser.add_argument("--on", default=SPEC, help="device")
    given = parser.parse_args()
    torch.set_num_threads(1)
    net, device = supernet(), open_device(given.on)
    rng = np.random.default_rng(0)
    pair = [device.prepare(net.extract(a), net.example_inputs) for a in (net.random(rng), net.smallest)]
    with Meter(device) as meter:
        found = {"quiet": repeatability(meter, *pair, trials=given.trials, effort=given.effort)}
        with busy_core():
            found["busy"] = repeatability(meter, *pair, trials=given.trials, effort=given.effort)
        found["evaluation_cpu_s"] = shares(net, device, meter, networks=10)
    if given.json:
        print(json.dumps({"device": device.spec, "effort": given.effort, **found, "environment": environment()}))
        return
    for name, values in found.items():
        print(name)
        for key, value in values.items():
            print(f"  {key:42} {value:8.3f}")


if __name__ == "__main__":
    main()
