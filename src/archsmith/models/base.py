"""The contract of a source of models."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import nn

from archsmith.method import Method


class ModelSource(Method):
    """Builds the networks that names of one kind stand for.

    Attributes:
        without_weights: options with which it loads no pretrained weights, for networks whose weights come from a file
            of archsmith anyway.
    """

    without_weights: ClassVar[Mapping[str, Any]]

    @classmethod
    @abstractmethod
    def recognises(cls, spec: str) -> bool:
        """Whether ``spec`` is a name of this kind."""

    @abstractmethod
    def check(self, spec: str) -> None:
        """Refuse a ``spec`` that cannot be built, as far as that is known without building.

        Raises:
            UnknownName: when there is no such network; names the nearest.
            MissingExtra: when the package that it comes from is not installed.
        """

    @abstractmethod
    def build(
        self,
        spec: str,
        *,
        channels: int | None = None,
        classes: int | None = None,
        image_size: Sequence[int] | None = None,
        tokens: int | None = None,
        vocabulary: int | None = None,
        **options: Any,
    ) -> nn.Module:
        """The network called ``spec`` for the data that the other arguments describe; unknown ones are ``None``.

        Args:
            spec: which network.
            channels: of the images.
            classes: number of outputs.
            image_size: height and width of the images, in pixels.
            tokens: of a text.
            vocabulary: token ids are below this.
            options: of the network itself, each checked against those that it has.

        Returns:
            A module, or a supernet where the source makes one.

        Raises:
            UnknownName: when there is no such network.
            InvalidModel: when it cannot be built so.
            InvalidOption: for an option that it does not have.
        """
