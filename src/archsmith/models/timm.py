"""Image models of timm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

from torch import nn

from archsmith.errors import unknown
from archsmith.method import Paper
from archsmith.models._zoo import built, library, refuses
from archsmith.models.base import ModelSource


@final
class Timm(ModelSource):
    """Image models of timm: ``timm/NAME``, also with a tag of its weights, ``timm/resnet18.a1_in1k``.

    Options are those of ``timm.create_model``: ``pretrained`` (``False`` unless given) fetches weights, and
    ``drop_rate``, ``drop_path_rate`` ... are the network's own. The image size is given to networks that are built for
    one; others take any.
    """

    paper = Paper(
        authors="Wightman, Ross",
        title="PyTorch Image Models",
        year=2019,
        doi="10.5281/zenodo.4414861",
    )
    without_weights: ClassVar[Mapping[str, Any]] = {"pretrained": False}

    @classmethod
    def recognises(cls, spec: str) -> bool:
        """The prefix ``timm/``."""
        return spec.startswith("timm/")

    def check(self, spec: str) -> None:
        """Look the name up in timm's list."""
        timm = library("timm", spec)
        name = spec.removeprefix("timm/")
        if not timm.is_model(name):
            raise unknown("model of timm", name, timm.list_models())

    def build(
        self,
        spec: str,
        *,
        channels: int | None = None,
        classes: int | None = None,
        image_size: Sequence[int] | None = None,
        tokens: int | None = None,  # noqa: ARG002 - all of timm's models are for images
        vocabulary: int | None = None,  # noqa: ARG002
        **options: Any,
    ) -> nn.Module:
        """The model by ``timm.create_model``, its first layer for ``channels``, its last for ``classes``."""
        self.check(spec)
        timm = library("timm", spec)
        name = spec.removeprefix("timm/")
        shape = {"in_chans": channels, "num_classes": classes}
        arguments = {k: v for k, v in shape.items() if v is not None} | options

        def make() -> Any:
            if image_size is not None and "img_size" not in options:
                try:
                    return timm.create_model(name, img_size=tuple(image_size), **arguments)
                except TypeError as error:
                    if not refuses(error, "img_size"):
                        raise
            return timm.create_model(name, **arguments)

        return built(spec, make, arguments, unaided="without pretrained weights it needs none: pretrained=false")
