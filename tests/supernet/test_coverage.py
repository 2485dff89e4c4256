"""What the page of coverage claims is what was measured; a few models of every kind are measured again."""

import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import archsmith as smith
from archsmith.testing.supernets import outputs_of
from archsmith.testing.torchvision_stub import define_torchvision_operators

ROOT = Path(__file__).parent.parent.parent
DATA = json.loads((ROOT / "benchmarks" / "coverage.json").read_text(encoding="utf-8"))
MODELS = DATA["models"]


def page():
    spec = importlib.util.spec_from_file_location("coverage_page", ROOT / "docs" / "coverage_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_counts_what_was_measured():
    text = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    elastic = sum(m.get("share", 0) >= 0.9 for m in MODELS)
    assert f"**{elastic} of {len(MODELS)} models" in text
    assert text.count("\n| `") == len(MODELS)
    assert text == page().coverage_page()


def test_the_goals_are_reached():
    """95 % of the models with 90 % of their weights elastic; half of them in less than 5 CPU seconds."""
    elastic = [m for m in MODELS if m.get("share", 0) >= 0.9]
    assert len(elastic) >= 0.95 * len(MODELS)
    assert np.median([m["cpu_s"] for m in MODELS if "share" in m]) < 5


def test_every_model_with_weights_is_equal():
    real = [m for m in MODELS if m.get("weights") == "real" and "share" in m]
    assert [m["name"] for m in real if not m["equal"]] == []
    assert all(gap <= 1e-5 for m in real for gap in m["gaps"].values())


def test_every_family_of_timm_is_measured():
    measured = {m["name"].split("/")[1] for m in MODELS if m["source"] == "timm"}
    assert measured == set(DATA["families"])


# Measured again -------------------------------------------------------------------------------------------------


def timm_model(name):
    import timm

    model = timm.create_model(name)
    size = model.default_cfg["input_size"]
    return model, torch.rand(2, *size, generator=torch.Generator().manual_seed(0))


def torchvision_model(name):
    from torchvision import models

    return models.get_model(name, weights=None), torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def transformer(kind, **more):
    import transformers

    sizes = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 64, "max_position_embeddings": 20}
    sizes = {**({} if kind == "T5" else sizes), **more}
    tokens = torch.randint(5, 90, (2, 7), generator=torch.Generator().manual_seed(0))
    head = {"Bert": "ForSequenceClassification", "Llama": "ForCausalLM", "T5": "ForConditionalGeneration"}[kind]
    model = getattr(transformers, kind + head)(getattr(transformers, f"{kind}Config")(**sizes))
    return model, {"input_ids": tokens, **({"decoder_input_ids": tokens[:, :3]} if kind == "T5" else {})}


SMALL_T5 = {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
AGAIN = {
    "timm/test_resnet": lambda: timm_model("test_resnet"),
    "timm/test_vit": lambda: timm_model("test_vit"),
    "timm/test_convnext": lambda: timm_model("test_convnext"),
    "timm/test_mambaout": lambda: timm_model("test_mambaout"),
    "timm/test_efficientnet": lambda: timm_model("test_efficientnet"),
    "torchvision/shufflenet": lambda: torchvision_model("shufflenet_v2_x0_5"),
    "transformers/bert": lambda: transformer("Bert"),
    "transformers/llama": lambda: transformer("Llama", num_key_value_heads=2),
    "transformers/t5": lambda: transformer("T5", **SMALL_T5),
}


def called(model, inputs, **more):
    return outputs_of(model(**inputs, **more) if isinstance(inputs, dict) else model(inputs, **more))


QUICK = ("timm/test_resnet", "transformers/bert")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in AGAIN])
def test_a_published_model_is_elastic_and_equal(name):
    define_torchvision_operators()
    pytest.importorskip(name.partition("/")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other packages
        torch.manual_seed(0)
        model, inputs = AGAIN[name]()
        supernet = smith.elastic(model.eval(), inputs).eval()
    account = supernet.account()
    assert account.elastic_parameters >= 0.9 * account.parameters, account
    with torch.no_grad():
        original = called(model, inputs)
        for arch in (supernet.smallest, supernet.random(np.random.default_rng(0)), supernet.largest):
            expected = called(supernet.extract(arch), inputs)
            found = called(supernet, inputs, arch=arch)
            assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert (found - original).abs().max() <= 1e-5 * original.abs().max()
