"""How many evaluations do strategies need on published tables?

Every strategy searches the same tables from the same seeds, one proposal at a time. Hypervolume is that of the
distinct architectures evaluated so far, as a share of the whole table's: objectives are scaled to 0..1 over the table,
costs that span more than a factor of 10 on a logarithmic scale, reference point 1.1 in each.

    python benchmarks/strategies.py --data DIR --seeds 15 --budget 250

reads ``nasbench201_cifar10.parquet`` and ``nasbench_macro.parquet`` from DIR (or from ``$ARCHSMITH_DATA``).
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archsmith.evaluation import Evaluation, Value
from archsmith.method import make, names
from archsmith.metric import Objective
from archsmith.pareto import hypervolume
from archsmith.space import Choice, ChoiceSpace
from archsmith.strategy.base import Strategy

SHARES = (0.95, 0.99)


@dataclass(frozen=True)
class Table:
    """A published table as a space, its values, and their normalised costs."""

    name: str
    space: ChoiceSpace
    objectives: tuple[Objective, ...]
    values: dict[bytes, tuple[float, ...]]
    costs: dict[bytes, NDArray[np.float64]]
    volume: float


def table(name: str, file: Path, choices: list[str], objectives: tuple[Objective, ...]) -> Table:
    import pandas as pd

    frame = pd.read_parquet(file).dropna(subset=[o.metric for o in objectives])
    options = tuple(range(int(frame[choices].to_numpy().max()) + 1))
    space = ChoiceSpace([Choice(c, options, kind="categorical") for c in choices], name=name)
    rows = frame[choices].to_numpy().astype(np.int16)
    costs = np.empty((len(frame), len(objectives)))
    for j, objective in enumerate(objectives):
        cost = np.array([objective.cost(v) for v in frame[objective.metric]])
        if cost.min() > 0 and cost.max() > 10 * cost.min():
            cost = np.log10(cost)
        costs[:, j] = (cost - cost.min()) / np.ptp(cost)
    values = frame[[o.metric for o in objectives]].to_numpy().tolist()
    keys = [row.tobytes() for row in rows]
    volume = hypervolume(costs, np.full(len(objectives), 1.1))
    found = dict(zip(keys, map(tuple, values), strict=True))
    return Table(name, space, objectives, found, dict(zip(keys, costs, strict=True)), volume)


def tables(folder: Path) -> list[Table]:
    cell = ["op_0_1", "op_0_2", "op_0_3", "op_1_2", "op_1_3", "op_2_3"]
    layers = [f"choice_{i}" for i in range(8)]
    nb201, macro = folder / "nasbench201_cifar10.parquet", folder / "nasbench_macro.parquet"
    return [
        table("edgegpu", nb201, cell, (Objective("val_acc", "max"), Objective("edgegpu_latency_ms", "min"))),
        table("raspi4", nb201, cell, (Objective("val_acc", "max"), Objective("raspi4_latency_ms", "min"))),
        table("macro-flops", macro, layers, (Objective("mean_acc", "max"), Objective("flops", "min"))),
        table(
            "three",
            nb201,
            cell,
            (Objective("val_acc", "max"), Objective("edgegpu_latency_ms", "min"), Objective("params_m", "min")),
        ),
    ]


def search(strategy: Strategy, on: Table, budget: int) -> tuple[NDArray[np.float64], float]:
    """The share of the table's hypervolume after each evaluation, and the CPU seconds of asking and telling."""
    met: list[NDArray[np.float64]] = []
    shares: list[float] = []
    spent = 0.0
    while len(met) < budget:
        started = time.process_time()
        asked = strategy.ask(1)
        spent += time.process_time() - started
        if not asked:
            break
        row = on.space.rows([asked[0].architecture])[0].tobytes()
        values = {o.metric: Value(v, "table") for o, v in zip(on.objectives, on.values[row], strict=True)}
        started = time.process_time()
        strategy.tell([Evaluation(proposal=asked[0], values=values, evaluator=on.name)])
        spent += time.process_time() - started
        met.append(on.costs[row])
        shares.append(hypervolume(np.array(met), np.full(len(on.objectives), 1.1)) / on.volume)
    return np.array(shares + shares[-1:] * (budget - len(shares))), spent


def options(text: str) -> tuple[str, dict[str, object]]:
    """``linas:picks=2,predictor=ridge`` -> name and options."""
    name, _, rest = text.partition(":")
    given: dict[str, object] = {}
    for item in filter(None, rest.split(",")):
        key, _, value = item.partition("=")
        given[key] = float(value) if "." in value else int(value) if value.isdigit() else value
    return name, given


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("ARCHSMITH_DATA"), help="folder of the tables")
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=250)
    parser.add_argument("--tables", nargs="*", help="some of: edgegpu raspi4 macro-flops three")
    parser.add_argument("--strategies", nargs="*", default=names("strategy"), help="such as linas:picks=8,optimism=0.0")
    given = parser.parse_args()
    if not given.data:
        parser.error("give --data DIR or set ARCHSMITH_DATA")
    print(
        f"{given.seeds} seeds from {given.first_seed}, budget {given.budget}; "
        "median evaluations to a share of the hypervolume"
    )
    print(f"{'table':12} {'strategy':44} {'95 %':>7} {'99 %':>7} {'mean':>7} {'end':>7} {'ms each':>8}")
    for on in tables(Path(given.data)):
        if given.tables and on.name not in given.tables:
            continue
        for text in given.strategies:
            name, chosen = options(text)
            runs, spent = [], 0.0
            for seed in range(given.first_seed, given.first_seed + given.seeds):
                rng = np.random.default_rng(seed)
                shares, seconds = search(
                    make("strategy", name, on.space, on.objectives, (), rng=rng, **chosen), on, given.budget
                )
                runs.append(shares)
                spent += seconds
            reached = [[int(np.argmax(r >= s)) + 1 if r[-1] >= s else np.inf for r in runs] for s in SHARES]
            medians = [
                f"{m:7.0f}" if np.isfinite(m := np.median(r)) else f"{'>' + str(given.budget):>7}" for r in reached
            ]
            each = 1e3 * spent / (given.seeds * given.budget)
            mean, end = float(np.mean(runs)), float(np.mean([r[-1] for r in runs]))
            print(f"{on.name:12} {text:44} {medians[0]} {medians[1]} {mean:7.4f} {end:7.4f} {each:8.1f}", flush=True)


if __name__ == "__main__":
    main()
