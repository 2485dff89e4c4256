"""Fingerprints of everything that values depend on: equal ones mean that values of two evaluators can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from archsmith.fingerprint import fingerprint_of
from archsmith.supernet import Supernet


def input_shapes(supernet: Supernet) -> str:
    """Of the tensors of one example call, as text: what costs depend on beside the architecture."""
    return repr([tuple(x.shape) for x in supernet.example_inputs if isinstance(x, Tensor)])


def fingerprint_of_batches(batches: Iterable[Any]) -> str:
    """Of the split if the batches have its fingerprint, otherwise of every tensor of one pass."""
    split = getattr(batches, "split", None)
    known = getattr(split, "fingerprint", None)
    if isinstance(known, str):
        return fingerprint_of(known, repr(getattr(batches, "mean", "")), repr(getattr(batches, "std", "")))
    digest = hashlib.sha256()
    for batch in batches:
        for tensor in _tensors(batch):
            digest.update(str((tuple(tensor.shape), tensor.dtype)).encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def fingerprint_of_supernet(supernet: Supernet) -> str:
    """Of the weights and the calibration batches: everything that a subnet's outputs depend on."""
    batches = [(*batch.inputs, dict(batch.keywords)) for batch in supernet.calibration]
    return fingerprint_of(supernet.weights_fingerprint, fingerprint_of_batches(batches))


def _tensors(thing: Any) -> Iterable[Tensor]:
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, Mapping):
        for key in sorted(thing):
            yield from _tensors(thing[key])
    elif isinstance(thing, tuple | list):
        for item in thing:
            yield from _tensors(item)
