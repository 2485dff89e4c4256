"""Segmentation: a torchvision model on drawn shapes, searched for a metric of one's own, the mean IoU.

python examples/segmentation.py            # about ten minutes on two cores; needs torchvision
python examples/segmentation.py --quick    # under a minute, to see it run

LR-ASPP on MobileNetV3 with random first weights tells discs, squares and triangles from a noisy background, at 64 x 64
pixels. The output is a dict, the loss one of pixels, the metric a function of network and data: any task will do.
"""

import argparse
from collections.abc import Iterable

import numpy as np
import torch
from _shared import arguments, known, table, told, write
from torch import nn
from torch.nn import functional as F

import archsmith as smith
from archsmith.testing.torchvision_stub import define_torchvision_operators

ON, SIZE, CLASSES = "onnxruntime:threads=1,batch=1", 64, ("background", "disc", "square", "triangle")
Batches = list[tuple[torch.Tensor, torch.Tensor]]


def drawn(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images ``(n, 3, h, w)`` of one to three shapes, of any colour, over noise; and the class of every pixel."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    images = rng.normal(0, 0.3, (count, 3, SIZE, SIZE)) + rng.uniform(-1, 1, (count, 3, 1, 1))
    labels = np.zeros((count, SIZE, SIZE), np.int64)
    for image, label in zip(images, labels, strict=True):
        for kind in rng.integers(1, 4, rng.integers(1, 4)):
            (y, x), radius = rng.uniform(8, SIZE - 8, 2), rng.uniform(6, 14)
            below, right = rows - y, columns - x
            inside = {
                1: below**2 + right**2 < radius**2,
                2: np.maximum(abs(below), abs(right)) < 0.85 * radius,
                3: (below < 0.7 * radius) & (below > 2 * abs(right) - radius),
            }[int(kind)]
            label[inside] = kind
            image[:, inside] = rng.uniform(-1, 1, (3, 1)) + rng.normal(0, 0.3, (3, int(inside.sum())))
    return torch.tensor(images, dtype=torch.float32), torch.tensor(labels)


def batches(count: int, seed: int) -> Batches:
    images, labels = drawn(count, seed)
    return list(zip(images.split(16), labels.split(16), strict=True))


def pixel_loss(outputs: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(outputs["out"], labels)


def mean_iou(network: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Intersection over union of true and found pixels, averaged over the classes, in percent."""
    counts = torch.zeros(len(CLASSES), len(CLASSES))
    for images, labels in batches:
        pairs = len(CLASSES) * labels.flatten() + network(images)["out"].argmax(1).flatten()
        counts += pairs.bincount(minlength=counts.numel()).view_as(counts)
    both = counts.diagonal()
    return 100 * (both / (counts.sum(0) + counts.sum(1) - both).clamp_min(1)).mean().item()


def main(given: argparse.Namespace) -> smith.Front:
    """Model, training, search, what was found."""
    define_torchvision_operators()
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    torch.manual_seed(0)
    model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=len(CLASSES))
    count = 32 if given.quick else given.items or 800
    train, val, test = batches(count, 0), batches(32 if given.quick else 160, 1), batches(32 if given.quick else 320, 2)
    supernet = smith.elastic(model, train[0][0][:2], width=(0.5, 0.75, 1.0))
    print(supernet.account())
    kept = given.run.with_name(f"{given.run.name}-training")
    report = smith.train(
        supernet,
        train,
        epochs=given.epochs,
        options={"random": 1},
        loss=pixel_loss,
        lr=3e-3,
        checkpoint=kept,
        on_progress=lambda p: print(f"epoch {p.epoch}, batch {p.step} of {p.steps}: {dict(p.losses)}", flush=True),
    )
    front = smith.search(
        supernet,
        val,
        calibration=train,
        maximize="mean_iou",
        minimize="latency_ms",
        metrics=[smith.UserMetric("mean_iou", mean_iou, on_data=True, unit="%", goal="max")],
        on=ON,
        budget=given.budget,
        run=given.run,
        on_progress=told,
    )
    whole = known(front, supernet.largest)
    near = [m for m in front if m["mean_iou"] >= whole["mean_iou"] - 2]
    fastest = min(near or front, key=lambda m: m["latency_ms"])
    on_test = {m.name: mean_iou(m.module(), test) for m in front}
    of_largest = mean_iou(supernet.extract(supernet.largest), test)
    write(
        given,
        "Segmentation of drawn shapes: mean IoU against latency",
        [
            f"The largest network: {whole['mean_iou']:.1f} % mean IoU ({of_largest:.1f} % on test), "
            f"{whole['latency_ms']:.2f} ms",
            f"The fastest at most 2 points below it on validation: **{fastest.name}**, {fastest['mean_iou']:.1f} % "
            f"({on_test[fastest.name]:.1f} % on test), **{whole['latency_ms'] / fastest['latency_ms']:.2f}x** faster",
        ],
        {
            "model": f"lraspp_mobilenet_v3_large, {SIZE} x {SIZE} pixels; {supernet.space.size()}",
            "data": f"{count} images for training, {sum(len(y) for _, y in val)} for validation, "
            f"{sum(len(y) for _, y in test)} for test",
            "training": f"sandwich rule, {report.epochs} epochs of {len(train)} batches of 16, "
            f"{sum(row['seconds'] for row in report.history):.0f} s",
            "search": f"{given.budget} evaluations, {ON}",
        },
        table(
            ["network", "mean_iou", "on test", "latency_ms"],
            [[m.name, m["mean_iou"], on_test[m.name], m["latency_ms"]] for m in front],
        ),
    )
    print("report:", front.report())
    return front


if __name__ == "__main__":
    main(arguments(__doc__, epochs=8, budget=40))
