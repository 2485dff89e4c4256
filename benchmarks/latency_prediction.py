"""How well is the latency of unseen subnets predicted, from blocks measured one by one and a few whole networks?

python benchmarks/latency_prediction.py [--on onnxruntime:threads=1 ...] [--spaces resnet mobilenet bert] [--json FILE]
                                         [--label busy]
python benchmarks/latency_prediction.py --transfer       # a new device of NAS-Bench-201 from ten measurements

The first measures 24 networks of a space (and their blocks), predicts 40 others and measures those too: shares of them
within 5 % and 10 % of the measurement, for each model and for that one which cross-validation chooses. The second takes
the six devices of NAS-Bench-201's table in turn as the new one (needs ``archsmith bench import nasbench201``). What
``FILE`` holds of other settings stays.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import archsmith as smith
from archsmith.architecture import Proposal
from archsmith.benchmark import open_benchmark
from archsmith.encoding.thermometer import Thermometer
from archsmith.evaluator.kit.latency_models import AUTO_MODELS, Known, judged
from archsmith.evaluator.latency import Latency
from archsmith.evaluator.predicted_latency import PredictedLatency
from archsmith.hardware import Meter, environment, open_device
from archsmith.hardware.block_table import BlockTable
from archsmith.hardware.machine import load_average
from archsmith.testing.torchvision_stub import define_torchvision_operators

SAMPLE, UNPRINTABLE = 24, 40


def resnet() -> smith.Supernet:
    """A residual network of timm at 32 x 32 pixels."""
    from timm.models.resnet import BasicBlock, ResNet

    model = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=10, channels=(16, 32, 64, 128), stem_width=16, stem_type="")
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return smith.elastic(model, torch.zeros(2, 3, 32, 32), width=(0.5, 0.75, 1.0), depth=0.5)


def mobilenet() -> smith.Supernet:
    """MobileNetV3-small of torchvision at 96 x 96 pixels."""
    from torchvision.models import mobilenet_v3_small

    return smith.elastic(mobilenet_v3_small(), torch.zeros(2, 3, 96, 96), width=(0.5, 0.75, 1.0), depth=0.5)


def bert() -> smith.Supernet:
    """BERT with six layers of 256, at 32 tokens."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(hidden_size=256, num_hidden_layers=6, num_attention_heads=8, intermediate_size=1024)
    inputs = {"input_ids": torch.ones(2, 32, dtype=torch.long), "attention_mask": torch.ones(2, 32, dtype=torch.long)}
    return smith.elastic(BertForSequenceClassification(config), inputs, width=(0.5, 0.75, 1.0), depth=0.5)


SPACES: Mapping[str, Callable[[], smith.Supernet]] = {"resnet": resnet, "mobilenet": mobilenet, "bert": bert}


def judge(supernet: smith.Supernet, meter: Meter) -> dict[str, dict[str, float | str]]:
    """Shares of unseen networks near their measurement, by model."""
    folder = Path(tempfile.mkdtemp(prefix="archsmith-"))
    table = BlockTable(meter, folder=folder)
    common = {"sample": SAMPLE, "table": table, "file": folder / "measured.json"}
    unseen = supernet.space.sample(UNPRINTABLE, np.random.default_rng(99))
    predictors, found = {}, {}
    for by in (*AUTO_MODELS, "auto"):
        started = time.process_time()
        predictors[by] = PredictedLatency(supernet, meter, by=by, **common)
        predictors[by].predict(unseen)
        found[by] = {"cpu_s": time.process_time() - started}
    latency = Latency(supernet, meter)
    true = np.array([latency.measure(Proposal(a), seed=0)["latency_ms"].value for a in unseen])
    for by, predictor in predictors.items():
        values = predictor.predict(unseen)
        held = [v.low <= t <= v.high for v, t in zip(values, true, strict=True)]
        of_model = {"model": predictor.model, "intervals_that_hold_percent": 100 * float(np.mean(held))}
        found[by] |= near(np.array([v.value for v in values]), true) | of_model
    found["blocks"]["kinds_of_blocks"] = len(table)
    return found


def near(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> dict[str, float]:
    """Shares within 5 % and 10 %, and the median error, in percent."""
    errors = np.abs(predicted / true - 1)
    return {
        "within_5_percent": 100 * float(np.mean(errors <= 0.05)),
        "within_10_percent": 100 * float(np.mean(errors <= 0.1)),
        "median_error_percent": 100 * float(np.median(errors)),
    }


def transfer(*, sample: int = 10, sets: int = 10) -> dict[str, dict[str, float]]:
    """Each device of NAS-Bench-201 from ``sample`` cells, with the other five known and without."""
    table = open_benchmark("nasbench201")
    names, rows = [name for name in table.columns if name.endswith("latency_ms")], table.rows
    latency = np.stack([np.asarray(table.columns[name], dtype=float) for name in names], axis=1)
    usable = np.flatnonzero(np.isfinite(latency).all(axis=1) & (latency > 0).all(axis=1))
    encoding = Thermometer(table.space)
    codes = encoding.encode(rows).astype(float)
    counts = codes @ np.eye(encoding.alike.max() + 1)[encoding.alike]
    found = {}
    for number, name in enumerate(names):
        others = np.delete(latency, number, axis=1)
        known = Known(codes, encoding.groups, counts, others, np.zeros(len(rows)))
        figures: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
        for seed in range(sets):
            rng = np.random.default_rng(seed)
            drawn = rng.choice(usable, sample + 1000, replace=False)
            learn, ask = drawn[:sample], drawn[sample:]
            for label, models in (("with", list(AUTO_MODELS)), ("without", ["learned"])):
                model = judged(known[learn], latency[learn, number], models)
                figures[label].append(near(model.predict(known[ask])[0], latency[ask, number]))
        for label, each in figures.items():
            found[f"{name}, {label} the others"] = {k: float(np.mean([f[k] for f in each])) for k in each[0]}
    return found


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", nargs="+", default=["onnxruntime:threads=1", "openvino:threads=1"])
    parser.add_argument("--spaces", nargs="+", default=list(SPACES), choices=list(SPACES))
    parser.add_argument("--transfer", action="store_true")
    parser.add_argument("--label", default="", help="keep the results apart, such as those of a busy machine: busy")
    parser.add_argument("--json", type=Path, default=None, help="write the results there, beside those of before")
    given = parser.parse_args()
    define_torchvision_operators()
    torch.set_num_threads(1)
    if given.transfer:
        print(json.dumps(transfer(), indent=1))
        return
    kept: dict[str, Any] = {"results": {}, "load": {}}
    if given.json and given.json.exists():
        kept = json.loads(given.json.read_text(encoding="utf-8"))
    for name in given.spaces:
        torch.manual_seed(0)
        supernet = SPACES[name]().eval()
        for spec in given.on:
            setting, load = f"{name} on {spec}" + (f"@{given.label}" if given.label else ""), load_average()
            with Meter(open_device(spec)) as meter:
                kept["results"][setting] = found = judge(supernet, meter)
            kept["load"][setting] = [load, load_average()]
            print(f"{setting}: {supernet.space.size()}, load {kept['load'][setting]}", flush=True)
            for by, figures in found.items():
                print("  ", by, {k: round(v, 1) if isinstance(v, float) else v for k, v in figures.items()}, flush=True)
            if given.json:
                kept |= {"sample": SAMPLE, "unseen": UNPRINTABLE, "environment": environment()}
                given.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
