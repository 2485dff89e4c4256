"""The models whose conversion is measured: how each is made, and the inputs of one call."""

from __future__ import annotations

import copy
import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from archsmith.testing.torchvision_stub import define_torchvision_operators

TIMM = "timm"
TORCHVISION = "torchvision"
TRANSFORMERS = "transformers"
OTHERS = "others"

Made = tuple[nn.Module, Any]
"""A model and the inputs of one call."""


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue.

    Args:
        name: unique.
        source: the package that it comes from.
        make: builds it with its inputs on torch's current device.
        note: what the table has to say of it.
    """

    name: str
    source: str
    make: Callable[[], Made]
    note: str = ""


def catalogue(families: Mapping[str, str]) -> list[Entry]:
    """Every model, in the order of the table.

    Args:
        families: timm module -> the model that stands for it.
    """
    define_torchvision_operators()
    timm = [Entry(f"timm/{family}/{name}", TIMM, partial(_timm, name)) for family, name in families.items()]
    return [*timm, *_torchvision(), *_transformers(), *_others()]


# timm -----------------------------------------------------------------------------------------------------------


def timm_families() -> dict[str, list[str]]:
    """Module of timm -> the models that it defines."""
    define_torchvision_operators()
    import timm

    found = defaultdict(list)
    for name in timm.list_models():
        found[timm.model_entrypoint(name).__module__.rpartition(".")[2]].append(name)
    return dict(sorted(found.items()))


def smallest_of(names: list[str]) -> str | None:
    """The model with the smallest product of parameters and pixels; ``None`` where none builds without memory."""
    import timm

    best: tuple[float, str | None] = (float("inf"), None)
    for name in sorted(names, key=lambda n: (not _SMALL.search(n), n)):
        config = timm.get_pretrained_cfg(name)
        _, height, width = (config and config.input_size) or (3, 224, 224)
        try:
            with torch.device("meta"), _at_most(best[0] / (height * width)):
                model = timm.create_model(name)
        except Exception:  # noqa: BLE001 - too large, or in need of packages that are not here
            continue
        cost = sum(p.numel() for p in model.parameters()) * height * width
        if cost < best[0]:
            best = cost, name
    return best[1]


_SMALL = re.compile(r"test|tiny|nano|pico|femto|atto|small|xxs|_[stbmx]?0|18|_s$|_p?t\d")


@contextmanager
def _at_most(count: float) -> Iterator[None]:
    """Stops a model's construction with an exception once it has more parameters."""
    seen = [0]

    def registered(_module: nn.Module, _name: str, parameter: nn.Parameter) -> None:
        seen[0] += parameter.numel()
        if seen[0] > count:
            raise OverflowError

    handle = nn.modules.module.register_module_parameter_registration_hook(registered)
    try:
        yield
    finally:
        handle.remove()


def _timm(name: str) -> Made:
    import timm

    config = timm.get_pretrained_cfg(name)
    more = {"num_classes": 1000} if config is not None and config.num_classes == 0 else {}
    try:
        model = timm.create_model(name, **more)
    except TypeError:  # those that never have a classifier
        model = timm.create_model(name)
    return model, torch.rand(2, *(model.default_cfg.get("input_size") or (3, 224, 224)))


# torchvision ----------------------------------------------------------------------------------------------------


def _torchvision() -> Iterator[Entry]:
    from torchvision import models

    for name in models.list_models(module=models):
        family = models.get_model_builder(name).__module__.rpartition(".")[2]
        if name in _CLASSIFIERS:
            yield Entry(f"torchvision/{family}/{name}", TORCHVISION, partial(_classifier, name))
    for name in models.list_models(module=models.segmentation):
        yield Entry(f"torchvision/segmentation/{name}", TORCHVISION, partial(_segmentation, name))
    for name in models.list_models(module=models.detection):
        note = "without anchors and non-maximum suppression"
        note = "without anchors, suppression and pooling by proposals" if "rcnn" in name else note
        yield Entry(f"torchvision/detection/{name}", TORCHVISION, partial(_detection, name), note)


_CLASSIFIERS = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3"),
    *("maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18"),
    *("resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_0", "swin_t", "swin_v2_t", "vgg11_bn"),
    *("vit_b_32", "wide_resnet50_2"),
)
"""One or two small members of every family."""


def _classifier(name: str) -> Made:
    from torchvision import models

    more = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    size = 299 if name == "inception_v3" else 224
    return models.get_model(name, **more), torch.rand(2, 3, size, size)


def _segmentation(name: str) -> Made:
    from torchvision import models

    return models.get_model(name, weights=None, weights_backbone=None, num_classes=21), torch.rand(2, 3, 96, 96)


def _detection(name: str) -> Made:
    from torchvision import models

    model = models.get_model(name, weights=None, weights_backbone=None, num_classes=21)
    return Detector(model), torch.rand(
        2, 3, 320 if name.startswith("ssd") else 128, 320 if name.startswith("ssd") else 128
    )


class Detector(nn.Module):
    """The networks of a detector: features, head, and in two stages what reads every proposal.

    Anchors and non-maximum suppression have no weights, and give as many boxes as the values make. Nor has pooling by
    proposals, an operator of torchvision's that builds for CPU-only torch lack: maps are pooled whole to its size.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.backbone, self.two_stages = model.backbone, hasattr(model, "rpn")
        if self.two_stages:
            self.head, self.roi_heads = model.rpn.head, model.roi_heads
        else:
            self.head = model.head

    def forward(self, images: torch.Tensor) -> Any:
        features = self.backbone(images)
        features = {"0": features} if isinstance(features, torch.Tensor) else features
        dense = self.head(list(features.values()))
        return (dense, self._proposals(features)) if self.two_stages else dense

    def _proposals(self, features: Any) -> list[Any]:
        """What the second stage says of one proposal an image and map: all of it."""
        heads, found = self.roi_heads, []
        for kind in ("box", "mask", "keypoint"):
            pool = getattr(heads, f"{kind}_roi_pool", None)
            if pool is not None:
                maps = [features[name] for name in pool.featmap_names if name in features]
                pooled = torch.cat([nn.functional.adaptive_avg_pool2d(x, pool.output_size) for x in maps])
                found.append(getattr(heads, f"{kind}_predictor")(getattr(heads, f"{kind}_head")(pooled)))
        return found


# transformers ---------------------------------------------------------------------------------------------------

_SIZES = {"vocab_size": 99, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
_SIZES |= {"intermediate_size": 96, "max_position_embeddings": 40}
_GROUPED = {**_SIZES, "num_key_value_heads": 2}
_VISION = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 32,
}


def _masked() -> dict[str, Any]:
    return {"input_ids": torch.randint(5, 90, (2, 13)), "attention_mask": torch.ones(2, 13, dtype=torch.long)}


def _tokens() -> dict[str, Any]:
    return {"input_ids": torch.randint(5, 90, (2, 13))}


def _pairs() -> dict[str, Any]:
    return {"input_ids": torch.randint(5, 90, (2, 13)), "decoder_input_ids": torch.randint(5, 90, (2, 7))}


def _pixels() -> dict[str, Any]:
    return {"pixel_values": torch.rand(2, 3, 32, 32)}


def _sound() -> dict[str, Any]:
    return {"input_features": torch.rand(2, 20, 32), "decoder_input_ids": torch.randint(5, 90, (2, 7))}


_DISTIL = {"vocab_size": 99, "dim": 48, "n_layers": 3, "n_heads": 4, "hidden_dim": 96, "max_position_embeddings": 40}
_GPT2 = {"vocab_size": 99, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 40}
_T5 = {"vocab_size": 99, "d_model": 48, "d_kv": 12, "d_ff": 96, "num_layers": 3, "num_heads": 4}
_WHISPER = {
    "vocab_size": 99,
    "d_model": 48,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "num_mel_bins": 20,
    "max_source_positions": 16,
    "max_target_positions": 40,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
}
_MODELS: dict[str, tuple[str, str, dict[str, Any], Callable[[], dict[str, Any]]]] = {
    "bert": ("BertForSequenceClassification", "BertConfig", _SIZES, _masked),
    "roberta": ("RobertaForSequenceClassification", "RobertaConfig", _SIZES, _masked),
    "distilbert": ("DistilBertForSequenceClassification", "DistilBertConfig", _DISTIL, _masked),
    "minilm": ("BertModel", "BertConfig", {**_SIZES, "hidden_size": 384, "num_attention_heads": 12}, _masked),
    "electra": ("ElectraForSequenceClassification", "ElectraConfig", {**_SIZES, "embedding_size": 24}, _masked),
    "albert": ("AlbertForSequenceClassification", "AlbertConfig", {**_SIZES, "embedding_size": 24}, _masked),
    "vit": ("ViTForImageClassification", "ViTConfig", {**_VISION, "patch_size": 8}, _pixels),
    "dinov2": ("Dinov2ForImageClassification", "Dinov2Config", {**_VISION, "patch_size": 8}, _pixels),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", _GPT2, _tokens),
    "opt": (
        "OPTForCausalLM",
        "OPTConfig",
        {**_SIZES, "ffn_dim": 96, "word_embed_proj_dim": 48},
        _masked,
    ),
    "gpt_neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", _SIZES, _tokens),
    "llama (grouped queries)": ("LlamaForCausalLM", "LlamaConfig", _GROUPED, _tokens),
    "mistral": ("MistralForCausalLM", "MistralConfig", _GROUPED, _tokens),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", _GROUPED, _tokens),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {**_GROUPED, "head_dim": 16}, _tokens),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", {**_GROUPED, "head_dim": 16}, _tokens),
    "t5": ("T5ForConditionalGeneration", "T5Config", _T5, _pairs),
    "bart": (
        "BartForConditionalGeneration",
        "BartConfig",
        {k: v for k, v in _WHISPER.items() if "max_" not in k and "mel" not in k and "suppress" not in k}
        | {"max_position_embeddings": 40},
        _pairs,
    ),
    "whisper": ("WhisperForConditionalGeneration", "WhisperConfig", _WHISPER, _sound),
}
"""Model -> its class, the class of its configuration, the small configuration, its inputs."""


def _transformers() -> Iterator[Entry]:
    for name in _MODELS:
        yield Entry(f"transformers/{name}", TRANSFORMERS, partial(_transformer, name), "small configuration")


def _transformer(name: str) -> Made:
    import transformers

    model, config, sizes, inputs = _MODELS[name]
    return getattr(transformers, model)(getattr(transformers, config)(**copy.deepcopy(sizes))), inputs()


# Others ---------------------------------------------------------------------------------------------------------


def _others() -> Iterator[Entry]:
    for name, function in list(globals().items()):
        if name.startswith("other_"):
            note = (inspect.getdoc(function) or "").rstrip(".")
            yield Entry(f"others/{name.removeprefix('other_')}", OTHERS, function, note)


class Translator(nn.Module):
    """Tokens through PyTorch's own encoder and decoder to tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 48), nn.Linear(48, 11)
        self.transformer = nn.Transformer(48, 4, 2, 2, 96, batch_first=True)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.head(self.transformer(self.embed(source), self.embed(target)))


def other_transformer() -> Made:
    """PyTorch's own encoder and decoder between an embedding and a linear layer."""
    return Translator(), (torch.randint(0, 11, (2, 7)), torch.randint(0, 11, (2, 5)))


def other_transformer_encoder() -> Made:
    """PyTorch's own encoder between two linear layers, sequence first."""
    layer = nn.TransformerEncoderLayer(48, 4, 96)
    encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    return nn.Sequential(nn.Linear(5, 48), encoder, nn.Linear(48, 3)), torch.rand(7, 2, 5)


class Recurrent(nn.Module):
    """Tokens through a recurrent network to one class."""

    def __init__(self, kind: type[nn.RNNBase], *, two_way: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 32)
        self.rnn = kind(32, 48, num_layers=2, batch_first=True, bidirectional=two_way)  # type: ignore[call-arg]
        self.head = nn.Linear(96 if two_way else 48, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.embed(tokens))[0][:, -1])


def other_lstm() -> Made:
    """Two layers of `nn.LSTM`."""
    return Recurrent(nn.LSTM, two_way=False), torch.randint(0, 11, (2, 9))


def other_lstm_two_way() -> Made:
    """Two layers of `nn.LSTM`, in both directions."""
    return Recurrent(nn.LSTM, two_way=True), torch.randint(0, 11, (2, 9))


def other_gru() -> Made:
    """Two layers of `nn.GRU`."""
    return Recurrent(nn.GRU, two_way=False), torch.randint(0, 11, (2, 9))


def other_gcn() -> Made:
    """PyTorch Geometric's `GCN` of three layers."""
    from torch_geometric.nn import GCN

    edges = torch.randint(0, 12, (2, 40))
    return GCN(7, 48, 3, 4, norm="batch_norm"), (torch.rand(12, 7), edges)


def other_gat() -> Made:
    """PyTorch Geometric's `GAT` of three layers and four heads."""
    from torch_geometric.nn import GAT

    return GAT(7, 48, 3, 4, heads=4), (torch.rand(12, 7), torch.randint(0, 12, (2, 40)))


def other_graph_sage() -> Made:
    """PyTorch Geometric's `GraphSAGE` of three layers."""
    from torch_geometric.nn import GraphSAGE

    return GraphSAGE(7, 48, 3, 4), (torch.rand(12, 7), torch.randint(0, 12, (2, 40)))


class UNet(nn.Module):
    """Three levels with skips, transposed convolutions on the way up."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        sizes = [width, 2 * width, 4 * width]
        self.down = nn.ModuleList(_double(a, b) for a, b in zip([3, *sizes], sizes, strict=False))
        self.bottom = _double(sizes[-1], 2 * sizes[-1])
        self.grow = nn.ModuleList(nn.ConvTranspose2d(2 * s, s, 2, 2) for s in reversed(sizes))
        self.up = nn.ModuleList(_double(2 * s, s) for s in reversed(sizes))
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for grow, block in zip(self.grow, self.up, strict=True):
            x = block(torch.cat([kept.pop(), grow(x)], 1))
        return self.head(x)


def _double(inputs: int, outputs: int) -> nn.Sequential:
    layers = []
    for size in (inputs, outputs):
        layers += [nn.Conv2d(size, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def other_unet() -> Made:
    """A U-Net of three levels."""
    return UNet(), torch.rand(2, 3, 32, 32)
