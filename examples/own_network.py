"""Your own network: declare what may vary, train it once, search it, export the best within a limit.

python examples/own_network.py            # about a minute on one core
python examples/own_network.py --quick    # seconds, to see it run
"""

import argparse
from pathlib import Path

import torch
from torch import nn

import archsmith as smith


class Digits(nn.Module):
    """A small convolutional network as anybody would write it; nothing here knows of archsmith."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2, stride=2)
        self.bn2 = nn.BatchNorm2d(64)
        self.fc1 = nn.Linear(64 * 4 * 4, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def digits() -> smith.Supernet:
    """The elastic network; the command line finds it as ``own_network:digits``."""
    first = smith.Width("conv1.width", (8, 16, 24, 32))
    second = smith.Width("conv2.width", (16, 32, 48, 64))
    hidden = smith.Width("fc1.width", (32, 64, 96, 128))
    axes = {
        "conv1": smith.Elastic(out=first),
        "bn1": smith.Elastic(over=first),
        "conv2": smith.Elastic(into=first, out=second, kernel=smith.Kernel("conv2.kernel", (3, 5))),
        "bn2": smith.Elastic(over=second),
        "fc1": smith.Elastic(into=second * 16, out=hidden),  # each channel is flattened to 4 x 4 numbers
        "fc2": smith.Elastic(into=hidden),
    }
    return smith.elastic(Digits(), torch.zeros(1, 1, 8, 8), axes)


def main(run: Path, *, quick: bool) -> smith.Front:
    """Train, search, export."""
    data = smith.open_data("digits")
    supernet = digits()
    print(supernet.account())
    smith.train(supernet, data.batches("train", 64, shuffle=True), method="sandwich", epochs=1 if quick else 15)
    front = smith.search(
        supernet,
        data.batches("val", 256),
        calibration=data.batches("train", 256),
        test=data.batches("test", 256),
        maximize="accuracy_top1",
        minimize="latency_ms",
        on="onnxruntime:threads=1,batch=64",
        limits=["latency_ms<=80%"],
        budget=8 if quick else 40,
        run=run,
        model="own_network:digits",
    )
    print(front.to_pandas().to_string(index=False))
    best = front.pick(by="accuracy_top1")
    print(best.export(run / "best.onnx").line)
    print("report:", front.report())
    return front


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/own-network"))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    main(given.run, quick=given.quick)
