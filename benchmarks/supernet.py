"""What running a subnet in its supernet costs, against the same network extracted.

    python benchmarks/supernet.py [--json] [--rounds 20]

Active and extracted calls alternate; each pair gives a ratio of CPU times at one thread, and the figures are medians
over the pairs. Activating is everything that a call does beside the model's own forward: it is timed on a model whose
forward returns at once, with the plan in the cache. Goals: ratio <= 1.10, activation < 2 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from archsmith.architecture import Architecture
from archsmith.supernet import Supernet
from archsmith.supernet.networks.residual_convnet import ResidualConvNet

WIDE = ((32, 48, 64), (64, 96, 128), (128, 192, 256))
CASES = [  # channels, image size, batch, widths
    (1, 8, 1, None),
    (1, 8, 64, None),
    (3, 32, 16, None),
    (3, 32, 16, WIDE),
    (3, 64, 2, WIDE),
]


def ratio(active: Callable[[], object], extracted: Callable[[], object], rounds: int) -> dict[str, float]:
    """Median over interleaved pairs, with quartiles, and both CPU times in milliseconds."""
    for _ in range(5):
        active()
        extracted()
    pairs = []
    for i in range(rounds):
        order = (active, extracted) if i % 2 else (extracted, active)
        times = {}
        for call in order:
            start = time.process_time_ns()
            call()
            times[call] = (time.process_time_ns() - start) / 1e6
        pairs.append((times[active], times[extracted]))
    quartiles = statistics.quantiles([a / e for a, e in pairs], n=4)
    return {
        "ratio": quartiles[1],
        "low": quartiles[0],
        "high": quartiles[2],
        "active_ms": statistics.median(a for a, _ in pairs),
        "extracted_ms": statistics.median(e for _, e in pairs),
    }


def forward_calls(
    supernet: Supernet, arch: Architecture, network: nn.Module, x: torch.Tensor
) -> tuple[Callable[[], object], Callable[[], object]]:
    supernet.eval()
    network.eval()

    def active() -> None:
        with torch.no_grad():
            supernet(x, arch=arch)

    def extracted() -> None:
        with torch.no_grad():
            network(x)

    return active, extracted


def step_calls(
    supernet: Supernet, arch: Architecture, network: nn.Module, x: torch.Tensor
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Forward, backward and nothing else: the optimiser's step depends on what it is given."""
    supernet.train()
    network.train()
    y = torch.zeros(len(x), dtype=torch.long)

    def active() -> None:
        supernet.zero_grad()
        nn.functional.cross_entropy(supernet(x, arch=arch), y).backward()

    def extracted() -> None:
        network.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()

    return active, extracted


def activation_ms(supernet: Supernet, arch: Architecture, rounds: int, *, grad: bool) -> float:
    """Median CPU time of a call whose network returns at once."""
    supernet.train(grad)
    x = torch.zeros(1)
    supernet.model.forward = lambda x: x
    try:
        times = []
        with torch.set_grad_enabled(grad):
            for _ in range(rounds + 5):
                start = time.process_time_ns()
                supernet(x, arch=arch)
                times.append((time.process_time_ns() - start) / 1e6)
    finally:
        del supernet.model.forward
    return statistics.median(times[5:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.add_argument("--rounds", type=int, default=20, help="pairs a figure")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for channels, size, batch, widths in CASES:
        chosen = {} if widths is None else {"widths": widths}
        supernet = ResidualConvNet.build(channels=channels, classes=10, image_size=size, **chosen)
        x = torch.randn(batch, channels, size, size)
        archs = {"smallest": supernet.smallest, "random": supernet.random(np.random.default_rng(1))}
        for which, arch in {**archs, "largest": supernet.largest}.items():
            network = supernet.extract(arch)
            rows.append(
                {
                    "network": "small" if widths is None else "wide",
                    "image": size,
                    "batch": batch,
                    "architecture": which,
                    "forward": ratio(*forward_calls(supernet, arch, network, x), options.rounds),
                    "step": ratio(*step_calls(supernet, arch, network, x), options.rounds),
                    "activation_eval_ms": activation_ms(supernet, arch, options.rounds, grad=False),
                    "activation_train_ms": activation_ms(supernet, arch, options.rounds, grad=True),
                }
            )
            if not options.json:
                print_row(rows[-1], header=len(rows) == 1)
    means = {kind: statistics.geometric_mean(r[kind]["ratio"] for r in rows) for kind in ("forward", "step")}
    if options.json:
        print(json.dumps({"torch": torch.__version__, "rows": rows, "geometric_mean_ratio": means}, indent=1))
    else:
        print(f"geometric mean of ratios: forward {means['forward']:.3f}, step {means['step']:.3f}")


def print_row(row: dict, *, header: bool) -> None:
    if header:
        print("network image batch subnet | forward ms, ratio (quartiles) | step ms, ratio (quartiles) | activation")
    f, s = row["forward"], row["step"]
    print(
        f"{row['network']:<7} {row['image']:>5} {row['batch']:>5} {row['architecture']:<8} | "
        f"{f['extracted_ms']:>9.2f} {f['ratio']:>6.3f} ({f['low']:.3f}-{f['high']:.3f}) | "
        f"{s['extracted_ms']:>8.2f} {s['ratio']:>6.3f} ({s['low']:.3f}-{s['high']:.3f}) | "
        f"eval {row['activation_eval_ms']:.2f} train {row['activation_train_ms']:.2f} ms"
    )


if __name__ == "__main__":
    main()
