"""Your own network: made elastic in one call, trained once, searched, the best within a limit exported.

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
    return smith.elastic(Digits(), torch.zeros(2, 1, 8, 8), width=(0.25, 0.5, 0.75, 1.0))


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
