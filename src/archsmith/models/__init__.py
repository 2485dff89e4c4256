"""Where models come from, one source a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archsmith import trust
from archsmith.errors import unknown
from archsmith.method import load, names

if TYPE_CHECKING:
    from archsmith.models.base import ModelSource

ROLE = "build the network that a name stands for"

__all__ = ["FORMS", "ROLE", "refuse_fetching", "source_named"]

FORMS = "timm/NAME, torchvision/NAME, hf/FOLDER, hf/ORG/NAME, module:factory"


def source_named(spec: str) -> ModelSource:
    """The source that knows names of this kind.

    Raises:
        UnknownName: when none does; the message shows the forms of names.

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


def refuse_fetching(spec: str, options: Mapping[str, Any]) -> None:
    """Allow only numbers as options from somebody else's file: texts may name files to load, flags may fetch weights.

    Raises:
        Untrusted: for any other.
    """
    for name, value in options.items():
        fetches = value not in (None, False) and any(part in name for part in ("pretrained", "weights", "checkpoint"))
        if fetches or not _is_numbers(value):
            trust.refuse(f"build {spec} with {name}={value!r}")


def _is_numbers(value: Any) -> bool:
    """Whether an option is a number, a truth value, nothing, or several of these: none can name a file."""
    if isinstance(value, list | tuple):
        return all(map(_is_numbers, value))
    return value is None or isinstance(value, bool | int | float)
