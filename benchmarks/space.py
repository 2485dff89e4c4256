"""How long 100,000 architectures take to sample, make canonical and encode in a conditional space of 40 choices.

python benchmarks/space.py [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from archsmith.encoding.one_hot import OneHot
from archsmith.space import Choice, ChoiceSpace

ARCHITECTURES = 100_000
GOAL_S = 1.0
REPEATS = 5


def large_space() -> ChoiceSpace:
    """Five stages: width, depth 1 to 3, and of each of three blocks a kernel and an operator, conditional on depth."""
    choices = []
    for stage in range(1, 6):
        choices += [Choice(f"s{stage}.width", (16, 24, 32, 48)), Choice(f"s{stage}.depth", (1, 2, 3))]
        for block in (1, 2, 3):
            when = (f"s{stage}.depth", tuple(range(block, 4))) if block > 1 else None
            choices += [
                Choice(f"s{stage}.b{block}.kernel", (3, 5, 7), when=when),
                Choice(f"s{stage}.b{block}.op", ("plain", "separable", "inverted", "skip"), "categorical", when=when),
            ]
    return ChoiceSpace(choices, name="five stages")


def measure() -> dict[str, float]:
    """Medians in seconds: each step, all of them, and all in CPU time, which a busy machine does not stretch."""
    space = large_space()
    encoding = OneHot(space)
    steps: dict[str, list[float]] = {name: [] for name in ("sample", "canonical", "encode", "total", "total_cpu")}
    for repeat in range(REPEATS):
        rng = np.random.default_rng(repeat)
        cpu = time.process_time()
        times = [time.perf_counter()]
        rows = space.sample_rows(ARCHITECTURES, rng)
        times.append(time.perf_counter())
        rows = space.canonical_rows(rows)
        times.append(time.perf_counter())
        encoding.encode(rows)
        times.append(time.perf_counter())
        seconds = [*np.diff(times), times[-1] - times[0], time.process_time() - cpu]
        for name, value in zip(steps, seconds, strict=True):
            steps[name].append(float(value))
    return {name: statistics.median(seconds) for name, seconds in steps.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    found = measure()
    choices = len(large_space().choices)
    if as_json:
        print(json.dumps({"architectures": ARCHITECTURES, "choices": choices, "goal_s": GOAL_S, **found}))
        return
    for name, seconds in found.items():
        print(f"{name:>9}  {seconds:6.3f} s")
    print(f"{ARCHITECTURES:,} architectures of {choices} choices; the goal is a total under {GOAL_S} s")


if __name__ == "__main__":
    main()
