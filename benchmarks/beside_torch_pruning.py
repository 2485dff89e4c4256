"""The same networks made smaller by archsmith and by Torch-Pruning 1.6.1, side by side.

    pip install --target DIR --no-deps torch-pruning==1.6.1
    PYTHONPATH=DIR python benchmarks/beside_torch_pruning.py [--limit 120] [--again]

Torch-Pruning: ``BasePruner`` with ``MagnitudeImportance``, a ratio of 0.3 everywhere but in the layer that gives the
outputs, nothing told about heads; then one forward. archsmith: ``elastic(..., width=(0.7, 1.0), depth=1.0)``, the
smallest subnet extracted; then one forward. Models that return dataclasses are wrapped for Torch-Pruning. Each side of
each model has a process of its own. The rows go to ``benchmarks/coverage.json``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import coverage_models as models  # noqa: E402

import archsmith as smith  # noqa: E402

RATIO = 0.3


def _image(name: str, size: int, **options: Any) -> models.Made:
    import timm

    return timm.create_model(name, **options), torch.rand(1, 3, size, size)


def _encoder() -> models.Made:
    import transformers

    config = transformers.T5Config(vocab_size=99, d_model=48, d_kv=12, d_ff=96, num_layers=3, num_heads=4)
    return transformers.T5EncoderModel(config), models._tokens()


LIST: dict[str, Callable[[], models.Made]] = {
    "ResNet-50": partial(_image, "resnet50", 96),
    "VGG-11": partial(_image, "vgg11_bn", 96),
    "MobileNetV3": partial(_image, "mobilenetv3_small_100", 96),
    "EfficientNet-B0": partial(_image, "efficientnet_b0", 96),
    "DenseNet-121": partial(_image, "densenet121", 96),
    "RegNetY": partial(_image, "regnety_002", 96),
    "ConvNeXt": partial(_image, "convnext_atto", 96),
    "GhostNet": partial(_image, "ghostnet_050", 96),
    "HRNet": partial(_image, "hrnet_w18_small", 96),
    "Inception-v3": partial(_image, "inception_v3", 128),
    "U-Net": models.other_unet,
    "ViT": partial(_image, "vit_tiny_patch16_224", 96, img_size=96),
    "DeiT": partial(_image, "deit_tiny_patch16_224", 96, img_size=96),
    "MobileViT": partial(_image, "mobilevit_xxs", 128),
    "Swin": partial(_image, "swin_tiny_patch4_window7_224", 224),
    "Mixer": partial(_image, "mixer_s32_224", 224),
    "Res2Net": partial(_image, "res2net50_26w_4s", 96),
    "EfficientViT": partial(_image, "efficientvit_b0", 128),
    "BERT": partial(models._transformer, "bert"),
    "ViT (transformers)": partial(models._transformer, "vit"),
    "GPT-2": partial(models._transformer, "gpt2"),
    "Llama, grouped queries": partial(models._transformer, "llama (grouped queries)"),
    "T5 encoder": _encoder,
    "T5": partial(models._transformer, "t5"),
    "GCN (PyTorch Geometric)": models.other_gcn,
}


class Plain(nn.Module):
    """A model whose outputs are one tensor, with inputs by position."""

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        super().__init__()
        self.model, self.names = model, tuple(inputs) if isinstance(inputs, dict) else ()

    def forward(self, *inputs: Any) -> Tensor:
        outputs = self.model(**dict(zip(self.names, inputs, strict=True))) if self.names else self.model(*inputs)
        if hasattr(outputs, "logits"):
            return outputs.logits
        return next(t for t in tree_leaves(getattr(outputs, "last_hidden_state", outputs)) if isinstance(t, Tensor))


def ours(name: str) -> dict[str, Any]:
    """The smallest subnet at 0.7 of every width."""
    model, inputs = LIST[name]()
    supernet = smith.elastic(model.eval(), inputs, width=(1 - RATIO, 1.0), depth=1.0, kernel=None, multiple=1)
    network = supernet.extract(supernet.smallest)
    with torch.no_grad():
        Plain(network, inputs)(*(inputs.values() if isinstance(inputs, dict) else _tuple(inputs)))
    return {"removed": 1 - _count(network) / _count(model)}


def theirs(name: str) -> dict[str, Any]:
    """Torch-Pruning as its documentation begins."""
    import torch_pruning as tp

    model, inputs = LIST[name]()
    plain = Plain(model.eval(), inputs)
    given = tuple(inputs.values()) if isinstance(inputs, dict) else _tuple(inputs)
    before = _count(model)
    last = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    pruner = tp.pruner.BasePruner(
        plain, given, importance=tp.importance.MagnitudeImportance(p=2), pruning_ratio=RATIO, ignored_layers=[last]
    )
    pruner.step()
    with torch.no_grad():
        plain(*given)
    return {"removed": 1 - _count(model) / before}


def _tuple(inputs: Any) -> tuple[Any, ...]:
    return inputs if isinstance(inputs, tuple) else (inputs,)


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def apart(side: Callable[[str], dict[str, Any]], name: str, limit: int) -> dict[str, Any]:
    """What one side makes of one model, in a process of its own."""
    fork = multiprocessing.get_context("fork")
    end, start = fork.Pipe(duplex=False)
    process = fork.Process(target=_child, args=(side, name, limit, start))
    process.start()
    start.close()
    try:
        found: dict[str, Any] = end.recv()
    except EOFError:
        found = {"reason": f"not finished after {limit} CPU seconds"}
    process.join()
    return found


def _child(side: Callable[[str], dict[str, Any]], name: str, limit: int, pipe: Any) -> None:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    torch.manual_seed(0)
    try:
        found = side(name)
    except Exception as error:  # noqa: BLE001 - the reason is the result
        found = {"reason": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]}
    pipe.send({**found, "cpu_s": round(time.process_time(), 1)})
    pipe.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=120, help="CPU seconds for each side of a model")
    parser.add_argument("--again", action="store_true", help="measure also what has a row already")
    given = parser.parse_args()
    models.define_torchvision_operators()
    file = HERE / "coverage.json"
    known = {} if given.again else {row["name"]: row for row in json.loads(file.read_text())["torch_pruning"]}
    rows = []
    for name in LIST:
        row = known.get(name) or {
            "name": name,
            "ours": apart(ours, name, given.limit),
            "theirs": apart(theirs, name, given.limit),
        }
        rows.append(row)
        print(f"{len(rows)}/{len(LIST)}  {json.dumps(row)}", flush=True)
        data = json.loads(file.read_text())  # the other benchmark may have written since
        file.write_text(json.dumps({**data, "torch_pruning": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
