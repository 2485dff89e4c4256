"""CIFAR-10: a residual network of timm, at 32 x 32 pixels, searched for accuracy against latency in ONNX Runtime.

python examples/cifar10.py --data FOLDER           # FOLDER/cifar10/{train,test}.parquet; about an hour on two cores
python examples/cifar10.py --data FOLDER --quick   # under a minute, to see it run

The network of 44.5 M multiply-adds is made elastic in widths and depths and trained as a supernet from random weights
by the sandwich rule, on images shifted and mirrored at random. The search reads 5,000 images taken out of the training
set; the front is judged on the test set. Interrupted, the same command goes on where it was.
"""

import argparse
from collections.abc import Iterator

import torch
from _shared import arguments, known, table, told, write
from torch import nn

import archsmith as smith
from archsmith.testing.torchvision_stub import define_torchvision_operators

ON = "onnxruntime:threads=1,batch=1"


class Augmented:
    """The batches of another loader, each image mirrored or not and shifted by up to four pixels."""

    def __init__(self, batches: object) -> None:
        self.batches, self.epoch = batches, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.batches.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        rng = torch.Generator().manual_seed(self.epoch)
        for images, labels in self.batches:
            mirrored = torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5
            padded = nn.functional.pad(torch.where(mirrored, images.flip(3), images), (4, 4, 4, 4))
            places = torch.randint(0, 9, (len(images), 2), generator=rng).tolist()
            yield torch.stack([p[:, y : y + 32, x : x + 32] for p, (y, x) in zip(padded, places, strict=True)]), labels


def network() -> nn.Module:
    """Four stages of two basic blocks, 16 to 128 channels, with a stem for small images."""
    define_torchvision_operators()  # timm imports torchvision where it is installed
    from timm.models.resnet import BasicBlock, ResNet

    torch.manual_seed(0)
    model = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=10, channels=(16, 32, 64, 128), stem_width=16, stem_type="")
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return model


def main(given: argparse.Namespace) -> smith.Front:
    """Data, model, training, search, what was found."""
    data = smith.open_data(given.data / "cifar10", limit=600 if given.quick else given.items)
    for note in data.notes:
        print(note)
    supernet = smith.elastic(network(), torch.zeros(2, 3, 32, 32), width=(0.5, 0.75, 1.0), depth=0.5)
    print(supernet.account())
    train = data.batches("train", 128, shuffle=True)
    report = smith.train(
        supernet,
        Augmented(train),
        method="sandwich",
        options={"random": 1},
        epochs=given.epochs,
        lr=4e-3,
        checkpoint=given.run.with_name(f"{given.run.name}-training"),
        on_progress=lambda p: (
            p.step % 20 or print(f"epoch {p.epoch}, {p.step}/{p.steps}: {dict(p.losses)}", flush=True)
        ),
    )
    front = smith.search(
        supernet,
        data.batches("val", 500),
        calibration=train,
        test=data.batches("test", 500),
        maximize="accuracy_top1",
        minimize="latency_ms",
        on=ON,
        budget=given.budget,
        baseline=None if given.quick else "random:20",
        run=given.run,
        on_progress=told,
    )
    whole = known(front, supernet.largest)
    near = [m for m in front if m["accuracy_top1"] >= whole["accuracy_top1"] - 1] or list(front)
    fastest = min(near, key=lambda m: m["latency_ms"])
    write(
        given,
        "CIFAR-10: accuracy against latency",
        [
            f"The largest network: {whole['accuracy_top1']:.2f} % on validation, {whole['latency_ms']:.3f} ms, "
            f"{whole['macs'] / 1e6:.1f} M multiply-adds, {int(whole['params']):,} parameters",
            f"The fastest at most 1 point below it on validation: **{fastest.name}**, {fastest['accuracy_top1']:.2f} % "
            f"({fastest['test_accuracy_top1']:.2f} % on test), **{whole['latency_ms'] / fastest['latency_ms']:.2f}x** "
            "faster",
        ],
        {
            "data": f"{len(data.train):,} images for training, {len(data.val):,} for validation, {len(data.test):,} "
            "for test (JPEG copies)",
            "space": supernet.space.size(),
            "training": f"sandwich rule (largest, smallest, one random), {report.epochs} epochs of {len(train)} "
            f"batches of 128, AdamW at 4e-3, {sum(row['seconds'] for row in report.history):.0f} s",
            "search": f"{given.budget} evaluations, {ON}",
        },
        table(
            ["network", "validation", "test", "latency_ms", "M macs", "params"],
            [
                [
                    m.name,
                    m["accuracy_top1"],
                    m["test_accuracy_top1"],
                    m["latency_ms"],
                    m["macs"] / 1e6,
                    int(m["params"]),
                ]
                for m in front
            ],
        ),
    )
    print("report:", front.report())
    return front


if __name__ == "__main__":
    main(arguments(__doc__, epochs=4, budget=60))
