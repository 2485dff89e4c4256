"""Where models come from, one source a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archsmith.errors import unknown
from archsmith.method import load, names

if TYPE_CHECKING:
    from archsmith.models.base import ModelSource

ROLE = "build the network that a name stands for"

__all__ = ["ROLE", "source_named"]

FORMS = "timm/NAME, torchvision/NAME, hf/FOLDER, hf/ORG/NAME, module:factory"


def source_named(spec: str) -> ModelSource:
    """The source that knows models of this kind of name.

    Raises:
        UnknownName: when none does; says what names look like.

    >>> type(source_named("timm/resnet18")).__name__
    'Timm'
    """
    sources = {name: load("models", name) for name in names("models")}
    for source in sources.values():
        if source.recognises(spec):
            found: ModelSource = source()
            return found
    error = unknown("source of models", spec.partition("/")[0], sources)
    raise type(error)(f"{error}; {spec!r} names no model: they are written {FORMS}")
