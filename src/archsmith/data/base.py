"""The contract of a data source, and the splits that are made from it."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archsmith.errors import InvalidOption, unknown
from archsmith.method import Method

SPLITS = ("train", "val", "test")
"""The names of the splits, in the order of the codes in :attr:`Collection.splits`."""

Pixels = NDArray[np.uint8 | np.float32]
"""Images ``(n, c, h, w)``."""

OnProgress = Callable[[int, int], None]
"""``on_progress(done, total)``: images read so far, and images to read."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one split, in memory.

    Args:
        images: ``(n, c, h, w)``, ``uint8`` in 0..255 or finite ``float32``.
        labels: ``(n,)`` integers in ``0..classes-1``.
    """

    images: Pixels
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


class AnyData(ABC):
    """Three splits with disjoint purposes, for inputs of any kind: what a job needs to know about its data.

    Attributes:
        train: weights and batch-norm statistics come from here.
        val: the search reads this.
        test: the search never sees this.
        classes: names, in the order of the labels.
        notes: what the user should know.
    """

    train: Any
    val: Any
    test: Any
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    @abstractmethod
    def form(self) -> str:
        """One input in a few characters, such as ``3x32x32``."""

    @property
    @abstractmethod
    def network_options(self) -> dict[str, Any]:
        """Options that a network for these data must be built with, as plain data."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of all inputs and labels."""

    @abstractmethod
    def batches(self, split: str, size: int, *, shuffle: bool = False, seed: int = 0) -> Iterable[tuple[Any, Tensor]]:
        """Batches ``(inputs, labels)`` of at most ``size`` items of ``"train"``, ``"val"`` or ``"test"``."""

    def split(self, name: str) -> Any:
        """The split called ``"train"``, ``"val"`` or ``"test"``.

        Raises:
            UnknownName: for any other name.
        """
        if name not in SPLITS:
            raise unknown("split", name, SPLITS)
        return getattr(self, name)


@dataclass(frozen=True, eq=False)
class Data(AnyData):
    """Images in three splits with disjoint purposes: training, the search's choices, the final claim.

    Args:
        train: weights and batch-norm statistics come from here.
        val: the search reads this.
        test: the search never sees this.
        classes: names, in the order of the labels.
        mean: per channel over the training split, of ``uint8`` images scaled to 0..1, of others as they are.
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
    def form(self) -> str:
        """``channels x height x width``."""
        return "x".join(map(str, self.shape))

    @property
    def network_options(self) -> dict[str, Any]:
        """Channels, classes and the images' height and width."""
        channels, height, width = self.shape
        return {"channels": channels, "classes": len(self.classes), "image_size": [height, width]}

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of all splits and the normalisation."""
        text = repr([s.fingerprint for s in (self.train, self.val, self.test)] + [self.classes, self.mean, self.std])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def batches(self, split: str, size: int, *, shuffle: bool = False, seed: int = 0) -> Batches:
        """Normalised batches of at most ``size`` images of ``"train"``, ``"val"`` or ``"test"``."""
        if size < 1:
            raise InvalidOption(f"a batch holds at least one image, got size={size}")
        return Batches(self.split(split), self.mean, self.std, size, shuffle, seed)


@dataclass
class Batches:
    """An iterable of ``(inputs (b, c, h, w) float32, labels (b,) int64)``, the same on every pass.

    The batches are of nearly equal size, so that none holds a single image, which batch norm cannot train on.
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
        return math.ceil(len(self.split) / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        n = len(self.split)
        order = np.random.default_rng([self.seed, self.epoch]).permutation(n) if self.shuffle else np.arange(n)
        mean = torch.tensor(self.mean, dtype=torch.float32).view(1, -1, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float32).view(1, -1, 1, 1)
        for chosen in np.array_split(order, len(self)):
            images = torch.from_numpy(np.ascontiguousarray(self.split.images[chosen]))
            scaled = images.float().div_(255) if images.dtype is torch.uint8 else images
            yield (scaled - mean) / std, torch.from_numpy(self.split.labels[chosen])


@dataclass(frozen=True, eq=False)
class Tokens:
    """Texts as token ids.

    Args:
        inputs: argument of the network -> ``(n, tokens)`` integers: ``input_ids``, ``attention_mask`` and, for pairs of
            texts, ``token_type_ids``.
        vocabulary: token ids are below this.
        notes: what the user should know.
    """

    inputs: Mapping[str, NDArray[np.int32]]
    vocabulary: int
    notes: tuple[str, ...] = ()


class Loader(Protocol):
    """Reads some of a collection's images or texts into memory."""

    def __call__(
        self, chosen: NDArray[np.intp], *, resize: int | None, on_progress: OnProgress | None
    ) -> Pixels | Tokens:
        """Images ``(len(chosen), c, h, w)``, ``resize x resize`` pixels if asked, else as they are; or texts.

        Raises:
            InvalidData: naming the image or text, the rule and the way out.
            InvalidOption: for ``resize`` where there are no images.
        """
        ...


@dataclass(frozen=True, eq=False)
class Collection:
    """The data of a source: labels at once, images or texts on demand.

    Args:
        labels: ``(n,)``, integers or names; checked and numbered by :func:`archsmith.data.open_data`.
        splits: ``(n,)``, 0 for train, 1 for val, 2 for test, as the source has them.
        load: reads the images or texts of the given positions.
        classes: names of the classes where the labels are their numbers.
        normalisation: mean and std per channel, where the user gives them.
        notes: what the user should know.
        noun: ``"image"`` or ``"text"``, for messages.
    """

    labels: NDArray[Any]
    splits: NDArray[np.int8]
    load: Loader
    classes: tuple[str, ...] | None = None
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    notes: tuple[str, ...] = ()
    noun: Literal["image", "text"] = "image"


class DataSource(Method):
    """Reads one kind of data; :func:`archsmith.data.open_data` checks, splits, limits and normalises it.

    Built from keyword options only.
    """

    accepts: ClassVar[str]
    """What a spec of this kind looks like, for messages."""

    @classmethod
    @abstractmethod
    def recognises(cls, spec: str) -> bool:
        """Whether ``spec`` (a name or a path) looks like this kind."""

    @abstractmethod
    def read(self, spec: str) -> Collection:
        """Labels and splits of all items, and a loader of the images or texts.

        Raises:
            InvalidData: naming the file or value, the rule and the way out.
        """
