"""What the front of sst2_minilm.py is compared with: layers dropped evenly, and heads and units pruned by magnitude.

python examples/sst2_baselines.py --data FOLDER           # after sst2_minilm.py; about 40 minutes on two cores
python examples/sst2_baselines.py --data FOLDER --quick   # under a minute, to see it run

Each baseline is MiniLM made smaller, then fine-tuned plainly, for as many epochs as the supernet had. Three sizes
of each are judged on test and timed like the front, which ``--front`` gives: the run of sst2_minilm.py.
"""

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
from _shared import arguments, table, write
from sst2_minilm import ON, Sentences, elastic, fine_tune, hits, latencies, minilm

import archsmith as smith
from archsmith.architecture import Architecture
from archsmith.pareto import is_non_dominated

KEPT_LAYERS = {5: (0, 1, 2, 4, 5), 4: (0, 2, 3, 5), 3: (0, 2, 5)}
"""Evenly spread, first and last among them."""
SHARES = ((12, 1024), (10, 768), (8, 512))
"""Heads and feed-forward units of every layer."""


def dropped(model: torch.nn.Module, layers: tuple[int, ...]) -> torch.nn.Module:
    """The same model with some of its layers."""
    smaller = copy.deepcopy(model)
    smaller.bert.encoder.layer = torch.nn.ModuleList(smaller.bert.encoder.layer[i] for i in layers)
    smaller.config.num_hidden_layers = len(layers)
    return smaller


def pruned(supernet: smith.Supernet, heads: int, units: int) -> Architecture:
    """Every layer with the heads and units of the largest weights, which the supernet has put in front."""
    sizes = {c.name: heads if "heads" in c.name else units for c in supernet.space.choices if "depth" not in c.name}
    return supernet.space.architecture({**supernet.largest.to_dict(), **sizes})


def main(given: argparse.Namespace) -> None:
    """Train the baselines, judge them, lay the front beside them."""
    quick = given.quick
    model, tokenizer = minilm(layers=2 if quick else 6)

    def sentences(split: str, limit: int | None, *, shuffle: bool = False) -> Sentences:
        return Sentences(given.data / "sst2" / f"{split}.tsv", tokenizer, limit=limit, shuffle=shuffle)

    train = sentences("train", 64 if quick else given.items, shuffle=True)
    test = sentences("test", 48 if quick else None)
    whole = elastic(model)
    baselines = {f"pruned to {h} heads and {u} units": (whole, pruned(whole, h, u)) for h, u in SHARES[2 * quick :]}
    for count, kept in KEPT_LAYERS.items() if not quick else ():
        shorter = elastic(dropped(model, kept))  # for the same training and measuring: only the largest is used of it
        baselines[f"{count} of 6 layers"] = shorter, shorter.largest
    points, seconds = {}, 0.0
    for name, (supernet, architecture) in baselines.items():
        print(name, flush=True)
        own, folder = copy.deepcopy(supernet), given.run / name.replace(" ", "-")
        how = {"method": "plain", "options": {"architecture": architecture}}
        seconds += fine_tune(own, train, folder, given.epochs, **how)
        [latency] = latencies(own, [architecture])
        points[name] = (100 * float(hits(own.extract(architecture), test).mean()), latency.value)
    run = given.front or Path("runs") / "sst2-minilm"
    front = {} if quick else {m.name: (m["test_accuracy_top1"], m["latency_ms"]) for m in smith.Run.open(run).front()}
    together = {**points, **front}
    best = is_non_dominated(np.array([[-accuracy, latency] for accuracy, latency in together.values()]))
    undominated = [name for name, on in zip(together, best, strict=True) if on]
    rows = front.values()
    beaten = [n for n, (a, ms) in points.items() if any(x >= a and y <= ms and (x, y) != (a, ms) for x, y in rows)]
    write(
        given,
        "MiniLM on SST-2: the front beside layer dropping and magnitude pruning",
        [
            f"Of {len(points)} baselines the front dominates **{len(beaten)}** (no worse in test accuracy and latency, "
            f"better in one); it does not dominate: {', '.join(n for n in points if n not in beaten) or 'none'}",
        ],
        {
            "training": f"{len(train.labels)} sentences, {given.epochs} epochs a baseline, AdamW at 1e-4; "
            f"{seconds:.0f} s in all",
            "latency": f"{ON}, at full effort",
            "front": "none" if quick else "the run of sst2_minilm.py",
        },
        table(
            ["network", "test", "latency_ms", "not dominated"],
            [[name, *values, "yes" if name in undominated else ""] for name, values in together.items()],
        ),
    )


if __name__ == "__main__":
    main(arguments(__doc__, epochs=2, budget=0))
