"""The contract of a source of models."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import nn

from archsmith.method import Method


class ModelSource(Method):
    """Builds the networks that names of one kind stand for."""

    @classmethod
    @abstractmethod
    def recognises(cls, spec: str) -> bool:
        """Whether ``spec`` is a name of this kind."""

    @abstractmethod
    def build(
        self,
        spec: str,
        *,
        channels: int | None = None,
        classes: int | None = None,
        image_size: Sequence[int] | None = None,
        **options: Any,
    ) -> nn.Module:
        """The network called ``spec``, for images of these ``channels`` and ``image_size`` (height, width).

        Args:
            spec: which network.
            channels: of the images, as far as they are known.
            classes: number of outputs.
            image_size: height and width of the images.
            options: of the network itself, each checked against those that it has.

        Returns:
            A module, or a supernet where the source makes one.

        Raises:
            UnknownName: when there is no such network.
            InvalidModel: when it cannot be built so.
            InvalidOption: for an option that it does not have.
        """
