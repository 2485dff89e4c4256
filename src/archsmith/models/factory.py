"""Networks that a function of the user's makes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, final

from torch import nn

from archsmith.errors import ArchsmithError, InvalidModel, InvalidOption
from archsmith.method import OURS, import_object, importable_here
from archsmith.models.base import ModelSource


@final
class Factory(ModelSource):
    """A network from a function of yours: ``module:factory``, importable from the current folder.

    The function (or class) is called by keyword with those of ``channels``, ``classes`` and ``image_size`` of images,
    ``classes``, ``tokens`` and ``vocabulary`` of texts that it has parameters for.
    """

    paper = OURS
    without_weights: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def recognises(cls, spec: str) -> bool:
        """Two dotted names with a colon between them."""
        return re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", spec) is not None

    def check(self, spec: str) -> None:
        """The form of the name; the function is looked for when it is called."""
        if not self.recognises(spec):
            raise InvalidModel(f"{spec!r} does not name a function; write it as module:factory")

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
        """What the function returns."""
        self.check(spec)
        known = {"channels": channels, "classes": classes, "image_size": image_size and tuple(image_size)}
        known |= {"tokens": tokens, "vocabulary": vocabulary}
        with importable_here():
            make = import_object(spec, what="model")
            if not callable(make):
                raise InvalidModel(f"{spec!r} is a {type(make).__name__}, not a function that returns a network")
            arguments = _arguments(spec, make, {k: v for k, v in known.items() if v is not None}, options)
            try:
                model = make(**arguments)
            except ArchsmithError:
                raise
            except Exception as error:
                given = ", ".join(f"{k}={v!r}" for k, v in arguments.items())
                raise InvalidModel(f"{spec}({given}) failed with {type(error).__name__}: {error}") from error
        if not isinstance(model, nn.Module):
            raise InvalidModel(f"{spec!r} returned a {type(model).__name__}; it must return a network")
        return model


def _arguments(
    spec: str, make: Callable[..., Any], known: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The known values that the function has parameters for, and all the options.

    Raises:
        InvalidOption: for an option that it does not have.
        InvalidModel: for a parameter without a value.
    """
    parameters = inspect.signature(make).parameters.values()
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if not takes_any and (wrong := sorted(options.keys() - named.keys())):
        raise InvalidOption(f"{spec!r} has no option {', '.join(wrong)}; it has: {', '.join(named) or 'none'}")
    arguments = {name: value for name, value in known.items() if name in named} | dict(options)
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if lacking := [name for name in required if name not in arguments]:
        raise InvalidModel(
            f"{spec!r} needs {', '.join(lacking)}, which nothing gives; a factory is called with channels, classes, "
            "image_size (tokens, vocabulary for texts) and the options of the command; give the others defaults"
        )
    return arguments
