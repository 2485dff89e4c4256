"""Whether costs beside latency are what they say, on 20 models with random weights.

python benchmarks/costs.py [--json] [--models 20]

Multiply-adds: the count on shapes alone against torch's own counter on a real run, and, for networks of convolutions
and linear layers only, against a count by hand. Memory: the peak that a process of its own measures in ONNX Runtime
against weights plus live activations. Arithmetic intensity: how it ranks networks by measured multiply-adds per second,
plain and with the share of weights that ranks the other networks best.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from archsmith.evaluator.counts import count
from archsmith.evaluator.footprint import intensity
from archsmith.evaluator.kit.operator_counter import OperatorCounts, count_operators
from archsmith.export.onnx_tools.fast_exporter import candidate_onnx
from archsmith.hardware import Meter, environment, open_device
from archsmith.hardware.machine import load_average
from archsmith.hardware.memory import peak_memory_mib
from archsmith.testing.torchvision_stub import define_torchvision_operators

SPEC = "onnxruntime:threads=1,batch=1"
IMAGES = (
    *("resnet18", "resnet50", "mobilenetv3_large_100", "efficientnet_b0", "densenet121", "regnety_002", "ghostnet_100"),
    *("mnasnet_100", "hrnet_w18_small", "inception_v3", "convnext_atto", "repvgg_a0", "dla34", "squeezenet"),
    *("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s32_224"),
)
SHARES = tuple(np.linspace(0, 1, 21))


def models() -> dict[str, tuple[nn.Module, tuple[torch.Tensor, ...]]]:
    """Name -> network and the inputs of one call."""
    define_torchvision_operators()
    import timm
    import torchvision
    import transformers

    torch.manual_seed(0)
    image, tokens = (torch.randn(1, 3, 224, 224),), (torch.randint(5, 900, (1, 128)),)
    found = {n: (timm.create_model(n), image) for n in IMAGES if n != "squeezenet"}
    found["squeezenet1_1"] = (torchvision.models.squeezenet1_1(), image)
    small = {"vocab_size": 1000, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6}
    wide = {**small, "intermediate_size": 1536}
    found["bert_6x384"] = (Logits(transformers.BertForSequenceClassification(transformers.BertConfig(**wide))), tokens)
    found["llama_6x384"] = (Logits(transformers.LlamaForCausalLM(transformers.LlamaConfig(**wide))), tokens)
    gpt2 = transformers.GPT2Config(vocab_size=1000, n_embd=384, n_layer=6, n_head=6)
    found["gpt2_6x384"] = (Logits(transformers.GPT2LMHeadModel(gpt2)), tokens)
    for network, _ in found.values():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):  # some begin at zero, and equal tensors are stored once
                nn.init.uniform_(module.weight, 0.5, 1.5)
    return {name: (network.eval(), inputs) for name, (network, inputs) in found.items()}


class Logits(nn.Module):
    """A transformers model that returns its logits only."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.network(input_ids=tokens).logits


def torchs_count(network: nn.Module, inputs: tuple[torch.Tensor, ...]) -> int:
    """Multiply-adds of a real run, as torch's counter sees them."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        network(*inputs)
    return counter.get_total_flops() // 2


def counted_by_hand(network: nn.Module, inputs: tuple[torch.Tensor, ...]) -> int | None:
    """Multiply-adds of convolutions and linear layers from the shapes of what they return; none for attention."""
    if any("attention" in type(m).__name__.lower() or "attn" in name for name, m in network.named_modules()):
        return None
    found = []

    def hook(module: nn.Module, _: object, output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            found.append(output.numel() * module.weight[0].numel())
        else:
            found.append(output.numel() * module.in_features)

    handles = [m.register_forward_hook(hook) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        network(*inputs)
    for handle in handles:
        handle.remove()
    return sum(found)


def one(
    name: str, network: nn.Module, inputs: tuple[torch.Tensor, ...], meter: Meter
) -> tuple[dict[str, object], OperatorCounts]:
    """Everything about one model."""
    params, macs = count(network, inputs)
    found = count_operators(network, inputs)
    device = meter.device
    content = candidate_onnx(network, inputs)
    latency = meter.measure(device.prepare_onnx(content, inputs))
    return {
        "name": name,
        "params": params,
        "macs": macs,
        "macs_by_torch": torchs_count(network, inputs),
        "macs_by_hand": counted_by_hand(network, inputs),
        "size_mib": len(content) / 2**20,
        "weights_mib": found.weight_bytes / 2**20,
        "live_memory_mib": (found.weight_bytes + found.live_bytes) / 2**20,
        "peak_memory_mib": peak_memory_mib(device, content, inputs),
        "latency_ms": latency.latency_ms,
        "intensity": intensity(found, 0.5),
    }, found


def ranking(rows: list[dict[str, object]], counts: list[OperatorCounts]) -> dict[str, float]:
    """Spearman's rho between intensity and measured multiply-adds per second."""
    speed = np.array([float(r["macs"]) / float(r["latency_ms"]) for r in rows])  # type: ignore[arg-type]
    table = np.array([[intensity(t, share) for share in SHARES] for t in counts])

    def rho(column: np.ndarray, kept: np.ndarray) -> float:
        return float(spearmanr(column[kept], speed[kept]).statistic)

    everything = np.arange(len(rows))
    best, left_out = [], []
    for i in everything:
        kept = everything[everything != i]
        best.append(int(np.argmax([rho(table[:, s], kept) for s in range(len(SHARES))])))
        left_out.append(table[i, best[-1]])
    return {
        "rho_of_macs": float(spearmanr([r["macs"] for r in rows], speed).statistic),
        "rho_plain": rho(table[:, SHARES.index(0.5)], everything),
        "rho_weighted_share_chosen_on_the_others": rho(np.array(left_out), everything),
        "share_of_weights_median": float(np.median([SHARES[b] for b in best])),
    }


def memory_model(rows: list[dict[str, object]]) -> dict[str, object]:
    """Peak memory as so many times the weights and so many times the live activations; errors on networks left out."""
    peaks, weights, live = (
        np.array([float(r[name]) for r in rows])  # type: ignore[arg-type]
        for name in ("peak_memory_mib", "weights_mib", "live_memory_mib")
    )
    parts = np.stack([weights, live - weights], axis=1)

    def fitted(kept: np.ndarray) -> np.ndarray:
        return np.linalg.lstsq(parts[kept] / peaks[kept, None], np.ones(kept.sum()), rcond=None)[0]

    errors = [abs(parts[i] @ fitted(np.arange(len(rows)) != i) / peaks[i] - 1) for i in range(len(rows))]
    return {
        "peak_as_weights_and_activations": [float(x) for x in fitted(np.ones(len(rows), dtype=bool))],
        "error_percent_median_and_most": [100 * float(np.median(errors)), 100 * float(max(errors))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--models", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, counts = [], []
    before = load_average()
    with Meter(open_device(SPEC)) as meter:
        for name, (network, inputs) in list(models().items())[: given.models]:
            row, found = one(name, network, inputs, meter)
            rows.append(row)
            counts.append(found)
            if not given.json:
                print("  ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()), flush=True)
    ratios = [r["peak_memory_mib"] / r["live_memory_mib"] for r in rows]
    pairs = [(r["peak_memory_mib"], r["live_memory_mib"]) for r in rows]
    found = {
        "models": len(rows),
        "macs_equal_torchs": sum(r["macs"] == r["macs_by_torch"] for r in rows),
        "macs_counted_by_hand": sum(r["macs_by_hand"] is not None for r in rows),
        "macs_equal_those_by_hand": sum(r["macs"] == r["macs_by_hand"] for r in rows),
        "peak_over_live_median": statistics.median(ratios),
        "peak_over_live_range": [min(ratios), max(ratios)],
        "rho_of_peak_and_live": float(spearmanr(*zip(*pairs, strict=True)).statistic),
        **(memory_model(rows) if len(rows) > 3 else {}),
        **ranking(rows, counts),
        "load": [before, load_average()],
    }
    if given.json:
        print(json.dumps({"device": SPEC, **found, "rows": rows, "environment": environment()}, indent=1))
        return
    for key, value in found.items():
        print(f"{key:42} {value}")


if __name__ == "__main__":
    main()
