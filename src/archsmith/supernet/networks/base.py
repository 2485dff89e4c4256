"""The contract of a hand-written supernet."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from archsmith.method import Method
from archsmith.supernet.supernet import Supernet


class Network(Method):
    """A network with choices in it, for images of any size. Options of a network are further keywords of ``build``."""

    @classmethod
    @abstractmethod
    def build(cls, *, channels: int, classes: int, image_size: int | Sequence[int]) -> Supernet:
        """A supernet with freshly initialised weights (from torch's generator: seed it for repeatable ones).

        Args:
            channels: of the images.
            classes: how many outputs.
            image_size: side of square images in pixels, or height and width.

        Raises:
            InvalidOption: for options that make no network.
        """
