"""How well do predictors rank architectures that they have not seen?

Every predictor learns from random cells of NAS-Bench-201 (the target is their accuracy, as normal scores) and ranks all
other cells; the table holds the mean Kendall tau, or Spearman rho, over the training sets, which all predictors share.

    archsmith bench import nasbench201 --from DIR
    python benchmarks/predictors.py --cells alive
    python benchmarks/predictors.py "ridge: one_hot+path" "svr: graph_features" --cells all --sets 5

``alive`` are the 9,445 cells without dead operations, which are those that the source has proxies for; ``all`` are all
15,625. Columns that predictors may read: the encodings ``one_hot``, ``graph_features``, ``path``, ``adjacency`` and
``weisfeiler_lehman``, ``proxies`` (the table's 13) and ``costs`` (parameters and multiply-adds).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archsmith.benchmark import open_benchmark
from archsmith.encoding.weisfeiler_lehman import WeisfeilerLehman
from archsmith.method import make
from archsmith.predictor import kendall_tau, normal_scores, spearman_rho
from archsmith.predictor.base import Predictor
from archsmith.space import ChoiceSpace

ALL = "one_hot+graph_features+path+proxies+costs"
ENTRIES = (
    "random_forest: proxies",
    "random_forest: proxies+graph_features",
    "extra_trees: proxies+graph_features",
    "gaussian_process: proxies+graph_features",
    "averaged: proxies+graph_features",
    f"averaged: {ALL}",
    f"gaussian_process: {ALL}",
    f"extra_trees: {ALL}",
    f"gradient_boosting: {ALL}",
    f"svr: {ALL}",
    f"ridge: {ALL}",
    "motif_gaussian_process: weisfeiler_lehman",
    "motif_gaussian_process: weisfeiler_lehman+proxies+graph_features",
    "averaged: one_hot+graph_features+path",
    "gaussian_process: graph_features",
    "gaussian_process: one_hot",
    "gaussian_process: path",
    "gaussian_process: adjacency",
)


def columns(
    name: str, table: dict[str, NDArray[np.float64]], space: ChoiceSpace, rows: NDArray[np.int16]
) -> NDArray[np.float64]:
    """One block of columns for every cell, ``(N, d)``."""
    if name == "proxies":
        return np.stack([values for column, values in table.items() if column.startswith("zc_")], axis=1)
    if name == "costs":
        return np.stack([table["params_m"], table["flops_m"]], axis=1)
    return np.asarray(make("encoding", name, space).encode(rows), dtype=float)


def predictor(name: str, parts: list[str], widths: list[int], space: ChoiceSpace) -> Predictor:
    """A new one; those that read motifs are told which columns they are."""
    if name == "motif_gaussian_process":
        groups: list[int] = []
        for part, width in zip(parts, widths, strict=True):
            groups += WeisfeilerLehman(space).rounds if part == "weisfeiler_lehman" else [-1] * width
        made: Predictor = make("predictor", name, groups=groups)
    else:
        made = make("predictor", name)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=20, help="random training sets of each size")
    parser.add_argument("--sizes", type=int, nargs="*", default=[32, 78, 128, 391, 1024])
    parser.add_argument("--cells", choices=["alive", "all"], default="alive")
    parser.add_argument("--folder", type=Path, help="where the imported table is")
    parser.add_argument("--json", type=Path, help="add one line a entry to this file")
    parser.add_argument("entries", nargs="*", default=list(ENTRIES), help="such as 'ridge: one_hot+path'")
    given = parser.parse_args()
    benchmark = open_benchmark("nasbench201", given.folder)
    table = {name: np.asarray(values, dtype=float) for name, values in benchmark.columns.items()}
    accuracy = table["val_acc"]
    # A cell with proxies has at least this one.
    cells = np.flatnonzero(np.isfinite(table["zc_params"]) if given.cells == "alive" else np.ones(len(accuracy), bool))
    print(f"{given.sets} training sets each of {given.sizes} of {len(cells)} cells")
    print(f"{'predictor: columns':70} {'tau':30}| {'rho':30}| CPU seconds to learn and rank")
    for entry in given.entries:
        name, _, text = entry.partition(": ")
        parts = text.split("+")
        found = [columns(part, table, benchmark.space, benchmark.rows) for part in parts]
        x = np.concatenate(found, axis=1)
        taus, rhos, seconds = [], [], []
        for size in given.sizes:
            scores = []
            started = time.process_time()
            for seed in range(given.sets):
                order = np.random.default_rng([size, seed]).permutation(cells)
                known, others = order[:size], order[size:]
                model = predictor(name, parts, [block.shape[1] for block in found], benchmark.space)
                model.fit(x[known], normal_scores(accuracy[known]))
                mean, _ = model.predict(x[others])
                scores.append((kendall_tau(mean, accuracy[others]), spearman_rho(mean, accuracy[others])))
            seconds.append((time.process_time() - started) / given.sets)
            tau, rho = np.mean(scores, axis=0)
            taus.append(float(tau))
            rhos.append(float(rho))
        figures = [" ".join(f"{v:.3f}" for v in line) for line in (taus, rhos)]
        print(f"{entry:70} {figures[0]} | {figures[1]} | {' '.join(f'{s:.2f}' for s in seconds)}", flush=True)
        if given.json:
            line = {"entry": entry, "cells": given.cells, "sets": given.sets, "sizes": given.sizes}
            with given.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line | {"tau": taus, "rho": rhos}) + "\n")


if __name__ == "__main__":
    main()
