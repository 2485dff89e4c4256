"""Is searching precisions together with the architecture better than the best architecture in uniform int8?

python examples/cifar10.py --data FOLDER          # trains the ResNet-shaped supernet, in runs/cifar10
python examples/sst2_minilm.py --data FOLDER      # trains the BERT-shaped supernet, in runs/sst2-minilm
python benchmarks/quantisation.py --data FOLDER [--only resnet bert] [--budget 60] [--json FILE]

Two searches with one budget, for accuracy, latency and size: one over architectures and a precision of every layer, and
one over architectures alone, of whose front every network is then quantised whole. Both fronts are measured again side
by side at full effort. Accuracy is that of the quantised files on data that neither training nor calibration saw: 2,000
images of CIFAR-10's training set that were left out, 300 sentences of SST-2's dev.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import numpy as np
import pandas as pd
import torch
from cifar10 import network
from safetensors.torch import load_file
from sst2_minilm import TOKENS, elastic, minilm

import archsmith as smith
from archsmith.architecture import Architecture, Proposal
from archsmith.candidates.files import Candidates
from archsmith.candidates.precisions import JointSpace, Precisions
from archsmith.candidates.quantised_files import QuantisedFiles
from archsmith.evaluator.accuracy import Accuracy
from archsmith.evaluator.file_size import FileSize
from archsmith.evaluator.kit.composite import Composite
from archsmith.evaluator.latency import Latency
from archsmith.hardware import Meter, environment, open_device
from archsmith.hardware.machine import load_average
from archsmith.pareto import hypervolume, is_non_dominated

Pairs = list[tuple[Any, torch.Tensor]]
ASKED = {"maximize": "accuracy_top1", "minimize": ["latency_ms", "size_mib"]}
CLOSE = 0.01
"""Latencies that differ by less are equal: the protocol tells no smaller differences apart on a busy machine."""


@dataclass
class Problem:
    """A trained supernet and what it is judged on."""

    supernet: smith.Supernet
    val: Pairs


def resnet(data: Path, run: Path) -> Problem:
    """The network of examples/cifar10.py, as that script leaves it."""
    supernet = smith.elastic(network(), torch.zeros(2, 3, 32, 32), width=(0.5, 0.75, 1.0), depth=0.5)
    supernet.load_state_dict(load_file(run / "supernet.safetensors"))
    found = smith.open_data(data / "cifar10")
    train = found.batches("train", 256, shuffle=True, seed=1)
    supernet.record_calibration([x for (x, _), _ in zip(train, range(8), strict=False)])
    val = [pair for pair, _ in zip(found.batches("val", 250), range(8), strict=False)]
    return Problem(supernet, val)


def bert(data: Path, run: Path) -> Problem:
    """The network of examples/sst2_minilm.py, as that script leaves it; sentences in exactly 32 tokens."""
    model, tokenizer = minilm()
    supernet = elastic(model)
    supernet.load_state_dict(load_file(run / "supernet.safetensors"))
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS)

    def sentences(split: str, count: int) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        rows = pd.read_csv(data / "sst2" / f"{split}.tsv", sep="\t", quoting=3, keep_default_na=False)
        rows = rows.sample(count, random_state=0)
        for start in range(0, count, 32):
            part = rows.iloc[start : start + 32]
            encoded = tokenizer.encode_batch(list(part.sentence))
            ids, mask = (torch.tensor([getattr(e, name) for e in encoded]) for name in ("ids", "attention_mask"))
            yield {"input_ids": ids, "attention_mask": mask}, torch.tensor(part.label.to_numpy())

    supernet.record_calibration([x for x, _ in sentences("train", 128)])
    return Problem(supernet, list(sentences("dev", 300)))


PROBLEMS = {"resnet": (resnet, "runs/cifar10"), "bert": (bert, "runs/sst2-minilm")}


def searched(problem: Problem, precisions: Precisions | None, given: argparse.Namespace, name: str) -> smith.Front:
    """The front of one search."""
    front = smith.search(
        problem.supernet,
        problem.val,
        **ASKED,
        on=given.on,
        budget=given.budget,
        precisions=precisions,
        seed=given.seed,
        run=given.folder / f"{name}-{'joint' if precisions else 'architecture'}",
        on_progress=lambda p: p.stage == "search" and print(f"{name}: {p.done}/{p.total} {p.text}", flush=True),
    )
    print(front, flush=True)
    return front


def measured(
    problem: Problem, joint: JointSpace, architectures: list[Architecture], on: str
) -> dict[str, dict[str, float]]:
    """Accuracy, latency and size of networks in their precisions, by key: each once, in random order."""
    order = np.random.default_rng(0).permutation(sorted({a.key for a in architectures}))
    known = {a.key: a for a in architectures}
    device = open_device(on)
    files = QuantisedFiles(joint, Candidates(problem.supernet, device), weight_bits=device.weight_bits)
    with Meter(device) as meter:
        parts = [
            Accuracy(problem.supernet, problem.val, files=files),
            FileSize(problem.supernet, files),
            Latency(problem.supernet, meter, effort="final", candidates=files),
        ]
        found = {key: Composite(parts)(Proposal(known[key])) for key in order}
    names = ("accuracy_top1", "latency_ms", "size_mib")
    return {key: {name: e[name] for name in names} for key, e in found.items() if e.ok}


def matched(one: dict[str, float], others: list[dict[str, float]]) -> list[dict[str, float]]:
    """Those of the others that are at least as accurate, as fast and as small."""
    return [
        b
        for b in others
        if b["accuracy_top1"] >= one["accuracy_top1"]
        and b["latency_ms"] <= one["latency_ms"] * (1 + CLOSE)
        and b["size_mib"] <= one["size_mib"]
    ]


def dominated(one: dict[str, float], others: list[dict[str, float]]) -> bool:
    """Whether another is as accurate, as fast and as small, and better in one of these."""
    return any(
        b["accuracy_top1"] > one["accuracy_top1"]
        or b["latency_ms"] < one["latency_ms"] * (1 - CLOSE)
        or b["size_mib"] < one["size_mib"] * (1 - CLOSE)
        for b in matched(one, others)
    )


def costs(rows: list[dict[str, float]]) -> np.ndarray:
    """What is minimised, ``(n, 3)``."""
    return np.array([[-r["accuracy_top1"], r["latency_ms"], r["size_mib"]] for r in rows])


def compared(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> dict[str, float]:
    """Shares of each front that the other matches and dominates, and hypervolumes in the box around both.

    A front is better than another (Zitzler and others, 2003) if it matches every member, and is not matched itself.
    """
    points = [
        np.array([[-r["accuracy_top1"], r["latency_ms"], r["size_mib"]] for r in rows]) for rows in (ours, theirs)
    ]
    both = np.concatenate(points)
    low, high = both.min(0), both.max(0)
    volumes = [hypervolume((p - low) / np.maximum(high - low, 1e-12), np.full(3, 1.1)) for p in points]
    union = hypervolume((both - low) / np.maximum(high - low, 1e-12), np.full(3, 1.1))
    return {
        "uniform_matched": float(np.mean([bool(matched(t, ours)) for t in theirs])),
        "joint_matched": float(np.mean([bool(matched(o, theirs)) for o in ours])),
        "uniform_dominated": float(np.mean([dominated(t, ours) for t in theirs])),
        "joint_dominated": float(np.mean([dominated(o, theirs) for o in ours])),
        "hypervolume_joint": volumes[0] / union,
        "hypervolume_uniform": volumes[1] / union,
    }


def at_equal_accuracy(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> list[dict[str, float]]:
    """For each network of theirs: the fastest and the smallest of ours that is as accurate."""
    rows = []
    for t in theirs:
        as_good = [o for o in ours if o["accuracy_top1"] >= t["accuracy_top1"]]
        if as_good:
            faster = t["latency_ms"] / min(o["latency_ms"] for o in as_good)
            smaller = t["size_mib"] / min(o["size_mib"] for o in as_good)
            rows.append({"accuracy_top1": t["accuracy_top1"], "faster": faster, "smaller": smaller})
    return rows


def front_of(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Those that no other one dominates, the fastest first."""
    kept = [r for r, on in zip(rows, is_non_dominated(costs(rows)), strict=True) if on]
    return sorted(kept, key=lambda r: r["latency_ms"])


def main() -> None:
    """One or both problems; prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ARCHSMITH_DATA") or "."))
    parser.add_argument("--only", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--trained", nargs="+", default=[], help="NAME=RUN, where a run lies elsewhere")
    parser.add_argument("--on", default="onnxruntime:threads=1,batch=1")
    parser.add_argument("--budget", type=int, default=60)
    parser.add_argument("--options", default="fp32,int8", help="precisions")
    parser.add_argument("--per", default="layer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/quantisation"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    runs = {name: Path(run) for name, (_, run) in PROBLEMS.items()}
    runs |= {name: Path(run) for name, _, run in (text.partition("=") for text in given.trained)}
    wanted = Precisions.of(given.options, per=given.per)
    found: dict[str, Any] = {}
    for name in given.only:
        started = time.monotonic()
        problem = PROBLEMS[name][0](given.data, runs[name])
        joint = JointSpace.of(problem.supernet, wanted)
        together = searched(problem, wanted, given, name)
        alone = searched(problem, None, given, name)
        ours = [m.architecture for m in together]
        theirs = [joint.join(m.architecture, "int8") for m in alone]
        whole = [joint.join(problem.supernet.largest, precision) for precision in ("fp32", "int8")]
        once = measured(problem, joint, [*ours, *theirs, *whole], given.on)
        rows = [front_of([once[arch.key] for arch in group if arch.key in once]) for group in (ours, theirs)]
        found[name if given.per == "layer" else f"{name}-{given.per}"] = {
            "joint": rows[0],
            "uniform_int8": rows[1],
            "whole_fp32": once[whole[0].key],
            "whole_int8": once[whole[1].key],
            **compared(*rows),
            "at_equal_accuracy": at_equal_accuracy(*rows),
            "choices": {"architecture": len(problem.supernet.space.choices), "precision": len(joint.choices)},
            "seconds": time.monotonic() - started,
            "settings": {key: getattr(given, key) for key in ("on", "budget", "options", "per", "seed")},
            "weight_bits": open_device(given.on).weight_bits,
            "load": load_average(),
        }
        print(json.dumps(found, indent=1), flush=True)
        if given.json:  # what is there of the other problem stays
            known = json.loads(given.json.read_text(encoding="utf-8"))["problems"] if given.json.exists() else {}
            content = {"environment": environment(), "problems": {**known, **found}}
            given.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
