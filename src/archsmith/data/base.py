"""The contract of a data source, and the splits it gives."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archsmith.method import Method


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one split, in memory.

    Args:
        images: ``(n, c, h, w)``, ``uint8`` in 0..255 or finite ``float32``.
        labels: ``(n,)`` integers in ``0..classes-1``.
    """

    images: NDArray[np.uint8] | NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of every pixel and label."""
        digest = hashlib.sha256(str((self.images.shape, self.images.dtype.str)).encode())
        for array in (self.images, self.labels):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Data:
    """Three splits with disjoint purposes: training, the search's choices, the final claim.

    Args:
        train: weights and batch-norm statistics come from here.
        val: the search reads this.
        test: the search never sees this.
        classes: names, in the order of the labels.
        mean: per channel over the training split, of images scaled to 0..1.
        std: likewise; never 0.
        notes: what the user should know (splits made, duplicates between splits found).
    """

    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width of one image."""
        c, h, w = self.train.images.shape[1:]
        return c, h, w

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of all splits and the normalisation."""
        text = repr([s.fingerprint for s in (self.train, self.val, self.test)] + [self.classes, self.mean, self.std])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def batches(self, split: str, size: int, *, shuffle: bool = False, seed: int = 0) -> Batches:
        """Normalised batches of ``"train"``, ``"val"`` or ``"test"``."""
        return Batches(getattr(self, split), self.mean, self.std, size, shuffle, seed)


@dataclass
class Batches:
    """An iterable of ``(inputs (b, c, h, w) float32, labels (b,) int64)``, the same on every pass.

    Shuffled batches depend on seed and :meth:`set_epoch` alone, as with torch's distributed sampler.
    """

    split: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    shuffle: bool = False
    seed: int = 0
    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.split) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        n = len(self.split)
        order = np.random.default_rng([self.seed, self.epoch]).permutation(n) if self.shuffle else np.arange(n)
        mean = torch.tensor(self.mean, dtype=torch.float32).view(1, -1, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float32).view(1, -1, 1, 1)
        for start in range(0, n, self.size):
            chosen = order[start : start + self.size]
            images = torch.from_numpy(np.ascontiguousarray(self.split.images[chosen]))
            scaled = images.float().div_(255) if images.dtype is torch.uint8 else images
            yield (scaled - mean) / std, torch.from_numpy(self.split.labels[chosen])


class DataSource(Method):
    """Reads one kind of data. Built from keyword options only (``seed``, ``resize`` and its own)."""

    @classmethod
    @abstractmethod
    def recognises(cls, spec: str) -> bool:
        """Whether ``spec`` (a name or a path) looks like this kind."""

    @abstractmethod
    def read(self, spec: str) -> Data:
        """All three splits, made reproducibly where they are missing.

        Raises:
            InvalidData: naming the file or value, the rule and the way out.
        """
