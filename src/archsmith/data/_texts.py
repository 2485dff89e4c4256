"""Texts in three splits, as batches of token ids by name."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archsmith.data.base import AnyData, Tokens
from archsmith.errors import InvalidOption


@dataclass(frozen=True, eq=False)
class TextSplit:
    """Token ids and labels of one split, in memory.

    Args:
        inputs: argument of the network -> ``(n, tokens)`` integers.
        labels: ``(n,)`` integers in ``0..classes-1``.
    """

    inputs: Mapping[str, NDArray[np.int32]]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of every token and label."""
        digest = hashlib.sha256()
        arrays: dict[str, NDArray[Any]] = {**self.inputs, "labels": self.labels}
        for name, array in arrays.items():
            digest.update(f"{name} {array.shape} {array.dtype.str}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class TextData(AnyData):
    """Texts in three splits with disjoint purposes: training, the search's choices, the final claim.

    Args:
        train: weights come from here.
        val: the search reads this.
        test: the search never sees this.
        classes: names, in the order of the labels.
        vocabulary: token ids are below this.
        notes: what the user should know (splits made, texts cut, duplicates between splits).
    """

    train: TextSplit
    val: TextSplit
    test: TextSplit
    classes: tuple[str, ...]
    vocabulary: int
    notes: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Of every text, padding included."""
        return int(self.train.inputs["input_ids"].shape[1])

    @property
    def form(self) -> str:
        """The number of tokens."""
        return f"{self.tokens} tokens"

    @property
    def network_options(self) -> dict[str, Any]:
        """Classes, tokens, vocabulary, and the names of the inputs."""
        names = list(self.train.inputs)
        return {"classes": len(self.classes), "tokens": self.tokens, "vocabulary": self.vocabulary, "inputs": names}

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of all splits."""
        text = repr([s.fingerprint for s in (self.train, self.val, self.test)] + [self.classes, self.vocabulary])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def batches(self, split: str, size: int, *, shuffle: bool = False, seed: int = 0) -> TextBatches:
        """Batches of at most ``size`` texts of ``"train"``, ``"val"`` or ``"test"``."""
        if size < 1:
            raise InvalidOption(f"a batch holds at least one text, got size={size}")
        return TextBatches(self.split(split), size, shuffle, seed)


@dataclass
class TextBatches:
    """An iterable of ``({"input_ids": (b, tokens) int64, "attention_mask": ..., ...}, labels (b,) int64)``.

    The same on every pass; shuffled ones depend on seed and :meth:`set_epoch` alone.
    """

    split: TextSplit
    size: int
    shuffle: bool = False
    seed: int = 0
    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self.split) / self.size)

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        n = len(self.split)
        order = np.random.default_rng([self.seed, self.epoch]).permutation(n) if self.shuffle else np.arange(n)
        for chosen in np.array_split(order, len(self)):
            inputs = {k: torch.from_numpy(v[chosen].astype(np.int64)) for k, v in self.split.inputs.items()}
            yield inputs, torch.from_numpy(self.split.labels[chosen])


def text_data(
    tokens: Tokens,
    labels: NDArray[np.int64],
    places: Sequence[NDArray[np.intp]],
    classes: tuple[str, ...],
    notes: tuple[str, ...],
) -> TextData:
    """The splits at ``places`` of tokenised texts."""
    train, val, test = (TextSplit({k: v[at] for k, v in tokens.inputs.items()}, labels[at]) for at in places)
    return TextData(train, val, test, classes, tokens.vocabulary, notes)
