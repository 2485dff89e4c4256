"""Memory of the keys and values that a language model keeps while it generates text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from archsmith.architecture import Proposal
from archsmith.candidates.fingerprints import input_shapes
from archsmith.errors import EvaluationFailed
from archsmith.evaluator.base import Evaluator
from archsmith.evaluator.footprint import one_input
from archsmith.fingerprint import fingerprint_of
from archsmith.method import OURS
from archsmith.metric import KNOWN_METRICS, Metric
from archsmith.supernet.supernet import Supernet
from archsmith.value import Value


@final
class KvCache(Evaluator):
    """``kv_cache_mib``: MiB of the cache that a transformers decoder returns for one sequence of the example's length.

    The network is called with ``use_cache=True``, and the tensors in its output's ``past_key_values`` are counted, so
    that grouped queries, dropped layers and sliding windows count as they are. It grows with the length: choose example
    inputs as long as the sequences that you serve.
    """

    paper = OURS
    depends_on = "architecture"

    def __init__(self, supernet: Supernet) -> None:
        self._supernet = supernet

    @property
    def metrics(self) -> Sequence[Metric]:
        return (KNOWN_METRICS["kv_cache_mib"],)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of("kv_cache", self._supernet.space.fingerprint, input_shapes(self._supernet))

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        del seed  # nothing here is random
        network, names = self._supernet.extract(proposal.architecture), self._supernet.input_names
        inputs = one_input(self._supernet.inputs_of(proposal.architecture))
        positional, named = ((), dict(zip(names, inputs, strict=True))) if names else (inputs, {})
        refused = "kv_cache_mib needs a decoder of transformers, which takes use_cache=True and returns past_key_values"
        try:
            with torch.no_grad():
                outputs = network(*positional, **{**named, "use_cache": True})
        except TypeError as error:
            raise EvaluationFailed(f"{refused}: {error}") from error
        cache = getattr(outputs, "past_key_values", None)
        tensors = {t.data_ptr(): t for t in _tensors(cache)}
        if not tensors:
            raise EvaluationFailed(f"{refused}, not {type(outputs).__name__}")
        return {"kv_cache_mib": Value(sum(t.nbytes for t in tensors.values()) / 2**20, "computed")}


def _tensors(thing: Any) -> Iterator[Tensor]:
    """The tensors of keys and values: in tuples of layers, or in cache classes of transformers."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, list | tuple):
        for item in thing:
            yield from _tensors(item)
    elif hasattr(thing, "layers"):
        yield from _tensors(list(thing.layers))
    elif hasattr(thing, "self_attention_cache"):  # an encoder-decoder keeps two
        yield from _tensors([thing.self_attention_cache, thing.cross_attention_cache])
    elif hasattr(thing, "keys") and hasattr(thing, "values"):
        yield from _tensors([thing.keys, thing.values])
