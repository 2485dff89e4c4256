"""Models of torchvision."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

from torch import nn

from archsmith.errors import InvalidModel, InvalidOption, unknown
from archsmith.method import Paper
from archsmith.models._zoo import built, library, refuses
from archsmith.models.base import ModelSource


@final
class Torchvision(ModelSource):
    """Classification, segmentation, detection and video models of torchvision: ``torchvision/NAME``.

    Options are those of the model's builder. ``weights`` (``"DEFAULT"``, ``"IMAGENET1K_V1"`` ...) fetches weights; with
    another number of classes than theirs the last layer gets new weights. Nothing is fetched unless asked for, not even
    the weights of a detector's or segmenter's backbone (``weights_backbone``).
    """

    paper = Paper(
        authors="TorchVision maintainers and contributors",
        title="TorchVision: PyTorch's Computer Vision library",
        year=2016,
        url="https://github.com/pytorch/vision",
    )
    without_weights: ClassVar[Mapping[str, Any]] = {"weights": None, "weights_backbone": None}

    @classmethod
    def recognises(cls, spec: str) -> bool:
        """The prefix ``torchvision/``."""
        return spec.startswith("torchvision/")

    def check(self, spec: str) -> None:
        """Look the name up in torchvision's list."""
        models = _models(spec)
        if _name(spec) not in models.list_models():
            raise unknown("model of torchvision", _name(spec), models.list_models())

    def build(
        self,
        spec: str,
        *,
        channels: int | None = None,
        classes: int | None = None,
        image_size: Sequence[int] | None = None,
        tokens: int | None = None,  # noqa: ARG002 - all of torchvision's models are for images
        vocabulary: int | None = None,  # noqa: ARG002
        **options: Any,
    ) -> nn.Module:
        """The model by ``torchvision.models.get_model``, its last layer for ``classes``."""
        self.check(spec)
        if channels not in (None, 3):
            raise InvalidModel(
                f"{spec!r} reads images of 3 channels, the data have {channels}; most networks are in timm too, whose "
                "first layer follows the data: --model timm/NAME"
            )
        models = _models(spec)
        parameters = inspect.signature(models.get_model_builder(_name(spec))).parameters
        for name in self.without_weights:
            if name in parameters:
                options = {name: None} | options
            elif options.get(name, ...) is None:
                options = {k: v for k, v in options.items() if k != name}
        sized = {} if classes is None else {"num_classes": classes}
        unaided = f"without pretrained weights it needs none: leave {' and '.join(self.without_weights)} out"
        if classes is None or not options.get("weights"):
            return built(spec, lambda: _make(models, spec, image_size, options | sized), options, unaided=unaided)
        trained = built(spec, lambda: models.get_model(_name(spec), **options), options, unaided=unaided)
        fresh = built(
            spec,
            lambda: _make(models, spec, image_size, {**options, "weights": None, **sized}),
            options,
            unaided=unaided,
        )
        return _with_weights(fresh, trained, spec, classes)


def _models(spec: str) -> Any:
    return library("torchvision", spec).models


def _name(spec: str) -> str:
    return spec.removeprefix("torchvision/")


def _make(models: Any, spec: str, image_size: Sequence[int] | None, arguments: Mapping[str, Any]) -> Any:
    """The model, built for the size of the images where its class needs one."""
    if image_size is not None and "image_size" not in arguments and image_size[0] == image_size[1]:
        try:
            return models.get_model(_name(spec), image_size=image_size[0], **arguments)
        except TypeError as error:
            if not refuses(error, "image_size"):
                raise
    return models.get_model(_name(spec), **arguments)


def _with_weights(fresh: nn.Module, trained: nn.Module, spec: str, classes: int) -> nn.Module:
    """``fresh`` with all weights of ``trained`` but those of outputs per class.

    Raises:
        InvalidOption: when anything else differs in shape.
    """
    given, wanted = trained.state_dict(), fresh.state_dict()
    other = [n for n in wanted if n not in given or given[n].shape != wanted[n].shape]
    if strange := [n for n in other if wanted[n].shape[0] % classes]:  # a detector also has four numbers for each class
        raise InvalidOption(
            f"the weights of {spec!r} do not fit the network for this data: {', '.join(strange[:3])} differ in shape; "
            "resize the images to what they were trained on, or train without weights"
        )
    fresh.load_state_dict({n: t for n, t in given.items() if n in wanted and n not in other}, strict=False)
    return fresh
