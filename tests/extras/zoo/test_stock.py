"""Subnets of transformers models that their own class builds from a smaller configuration."""

import numpy as np
import pytest
import torch
from torch import nn

import archsmith as smith
from archsmith.errors import InvalidModel
from archsmith.testing.supernets import outputs_of
from archsmith.testing.torchvision_stub import define_torchvision_operators

define_torchvision_operators()
transformers = pytest.importorskip("transformers")

COMMON = {
    "vocab_size": 99,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 40,
}
TOKENS = torch.randint(5, 90, (2, 13), generator=torch.Generator().manual_seed(0))


def bert():
    return transformers.BertForSequenceClassification(transformers.BertConfig(**COMMON))


def llama():
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**COMMON, num_key_value_heads=2))


def gpt2():
    config = transformers.GPT2Config(vocab_size=99, n_embd=48, n_layer=2, n_head=4, n_positions=40, bos_token_id=1)
    config.eos_token_id = 1
    return transformers.GPT2LMHeadModel(config)


# what may vary: names end in these; sizes that would change a scale (head sizes) may not
MODELS = {
    "bert": (bert, ["heads", "depth", "intermediate.dense.width"]),
    "llama": (llama, ["hidden", "depth", "kv_heads", "queries_per_kv", "mlp.width"]),
    "gpt2": (gpt2, ["heads", "depth", "c_proj.width"]),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "llama")) for n in MODELS])
def test_subnets_load_with_the_stock_class(name, tmp_path):
    make, varied = MODELS[name]
    torch.manual_seed(0)
    model = make().eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 1.0, 0.1)
    supernet = smith.elastic(model, {"input_ids": TOKENS}, width=(0.5, 1.0), multiple=2, homogeneous=True).eval()
    assert sorted(n.rpartition("*.")[2].split(".")[-1] for n in supernet.space.names) == sorted(
        v.split(".")[-1] for v in varied
    )
    for arch in (supernet.smallest, supernet.random(np.random.default_rng(0))):
        stock = supernet.stock(arch)
        assert type(stock) is type(model)
        stock.save_pretrained(tmp_path)
        loaded = type(model).from_pretrained(tmp_path).eval()
        with torch.no_grad():
            expected = outputs_of(supernet.extract(arch)(input_ids=TOKENS))
            assert torch.equal(outputs_of(loaded(input_ids=TOKENS)), expected)
            assert torch.equal(outputs_of(supernet(input_ids=TOKENS, arch=arch)), expected)
    assert sum(p.numel() for p in supernet.stock(supernet.smallest).parameters()) < 0.6 * sum(
        p.numel() for p in model.parameters()
    )


def test_what_a_configuration_cannot_say_is_refused():
    supernet = smith.elastic(bert(), {"input_ids": TOKENS}, width=(0.5, 1.0), multiple=2)
    values = supernet.largest.to_dict()
    one = next(n for n in values if n.endswith("0.intermediate.dense.width"))
    with pytest.raises(InvalidModel, match="no configuration of BertForSequenceClassification builds"):
        supernet.stock(supernet.space.architecture({**values, one: 48}))
    with pytest.raises(InvalidModel, match="homogeneous"):
        smith.elastic(nn.Sequential(nn.Linear(4, 32), nn.Linear(32, 2)), torch.rand(2, 4), homogeneous=True)
