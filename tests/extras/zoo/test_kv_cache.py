"""The memory of keys and values of transformers decoders."""

import pytest
import torch

import archsmith as smith
from archsmith.architecture import Proposal
from archsmith.evaluator.kv_cache import KvCache
from archsmith.testing.evaluators import EvaluatorConformance
from archsmith.testing.torchvision_stub import define_torchvision_operators

define_torchvision_operators()
transformers = pytest.importorskip("transformers")

TOKENS, LAYERS, GROUPS, HEAD = 13, 3, 2, 12


@pytest.fixture(scope="module")
def supernet():
    config = transformers.LlamaConfig(
        vocab_size=99,
        hidden_size=4 * HEAD,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=GROUPS,
        intermediate_size=96,
        max_position_embeddings=40,
    )
    tokens = torch.randint(5, 90, (2, TOKENS), generator=torch.Generator().manual_seed(0))
    return smith.elastic(transformers.LlamaForCausalLM(config).eval(), {"input_ids": tokens})


class TestKvCache(EvaluatorConformance):
    @pytest.fixture
    def evaluator(self, supernet):
        return KvCache(supernet)

    def test_keys_and_values_of_every_layer_and_group(self, supernet, evaluator):
        found = evaluator.measure(Proposal(supernet.largest), seed=0)["kv_cache_mib"]
        assert found.source == "computed"
        assert found.value * 2**20 == 2 * LAYERS * GROUPS * HEAD * TOKENS * 4

    def test_smaller_networks_keep_less(self, supernet, evaluator):
        small, large = (
            evaluator.measure(Proposal(a), seed=0)["kv_cache_mib"].value for a in (supernet.smallest, supernet.largest)
        )
        assert 0 < small < large
