"""The size of images as a choice: a supernet resizes images for its subnets, a deployed network expects small ones.

A supernet resizes images of any size to the subnet's before the network sees them: bilinear, with anti-aliasing, as
torchvision does. Extraction gives the network alone: it is measured, counted and exported at its own image size, and
its user resizes the images.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archsmith.errors import InvalidModel, InvalidOption
from archsmith.structure.calls import arguments

Size = tuple[int, int]
"""Height and width."""
Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Resolution:
    """The choice of the size of images.

    Args:
        place: of the images among the inputs of a call: the position in digits, or the name.
        full: size of the example's images.
        options: heights, ascending up to the full one; widths follow in proportion.
    """

    name: ClassVar[str] = "input.resolution"
    place: str
    full: Size
    options: tuple[int, ...]

    def size(self, number: int) -> Size:
        """The size of images under an option."""
        height, width = self.full
        return self.options[number], max(round(width * self.options[number] / height), 1)

    def record(self, number: int, plan: dict[str, Any]) -> None:
        """Write the option into the fields of a plan under construction."""
        if number < len(self.options) - 1:
            plan["inputs"][self.place] = self.size(number)

    def option(self, height: int) -> str:
        """The name of one option, as the key of a reason."""
        return f"{self.name}={height}"


def resolution_of(inputs: tuple[tuple[Any, ...], Mapping[str, Any]], sizes: Sequence[int | float]) -> Resolution:
    """The choice among ``sizes`` for the images of a call.

    Args:
        inputs: positional and named ones; the images are the first tensor ``(batch, channels, height, width)`` of
            floating-point numbers.
        sizes: heights in pixels, or shares of the full height, which are rounded to multiples of 32 from 128 pixels
            on and to multiples of 8 from 32 pixels on.

    Raises:
        InvalidModel: where nothing among the inputs looks like images.
        InvalidOption: for more pixels than the example has.
    """
    named = [*((str(i), x) for i, x in enumerate(inputs[0])), *inputs[1].items()]
    found = next(((p, x) for p, x in named if isinstance(x, Tensor) and x.ndim == 4 and x.is_floating_point()), None)
    if found is None:
        raise InvalidModel(
            "resolution= needs images among the example inputs, (batch, channels, height, width) of floating-point "
            "numbers; leave it out for other inputs"
        )
    place, (height, width) = found[0], found[1].shape[-2:]
    step = next((s for least, s in ((128, 32), (32, 8)) if height >= least and height % s == 0), 1)
    heights = {max(round(s * height / step), 1) * step if isinstance(s, float) else s for s in sizes}
    if max(heights) > height:
        raise InvalidOption(
            f"resolution={max(heights)} is more than the {height} pixels of the example inputs; give larger examples"
        )
    return Resolution(place, (height, width), tuple(sorted(heights | {height})))


def resized_images(images: Tensor, size: Size) -> Tensor:
    """Images ``(b, c, h, w)`` in another size, bilinear with anti-aliasing; unchanged where they have it already."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    exact = images if images.dtype in (torch.float32, torch.float64) else images.float()
    return F.interpolate(exact, tuple(size), mode="bilinear", antialias=True, align_corners=False).to(images.dtype)


def fitted(sizes: Mapping[str, Size], inputs: Any, names: Sequence[str] = ()) -> Any:
    """The inputs of one call, in the form in which they are given, with images of the sizes that a plan says.

    Args:
        sizes: a plan's ``inputs``.
        inputs: a tensor, a tuple of the positional inputs, or a mapping by name.
        names: of all inputs in order, where they are known.
    """
    if not sizes:
        return inputs
    changes: dict[str, list[Change]] = {place: [partial(resized_images, size=size)] for place, size in sizes.items()}
    args, kwargs = _changed(changes, *arguments(inputs), names)
    if isinstance(inputs, Mapping):
        return kwargs
    return args[0] if isinstance(inputs, Tensor) else args


def _changed(
    changes: Mapping[str, Sequence[Change]], args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    positional, named = list(args), dict(kwargs)
    for place, change in ((p, c) for p, several in changes.items() for c in several):
        where = int(place) if place.isdecimal() else list(names).index(place) if place in names else len(positional)
        name = names[where] if where < len(names) else place
        if name in named:
            named[name] = change(named[name])
        elif where < len(positional):
            positional[where] = change(positional[where])
    return tuple(positional), named


def _times(gate: Tensor, images: Tensor) -> Tensor:
    return images * gate.to(images)


class Resizing:
    """A network's ``forward`` with smaller images: it replaces the original for the length of a call.

    Args:
        network: its own ``forward`` is called with the resized images.
        sizes: a plan's ``inputs``.
        gates: factors of inputs, for relaxed decisions.
    """

    def __init__(
        self, network: nn.Module, sizes: Mapping[str, Size], gates: Mapping[str, Tensor] = MappingProxyType({})
    ) -> None:
        given: Any = vars(network).get("forward")
        self.forward: Any = given.forward if isinstance(given, Resizing) else network.forward
        self._changes: dict[str, list[Change]] = {
            place: [partial(resized_images, size=s)] for place, s in sizes.items()
        }
        for place, gate in gates.items():
            self._changes.setdefault(place, []).append(partial(_times, gate))
        self._names = list(inspect.signature(self.forward).parameters)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = _changed(self._changes, args, kwargs, self._names)
        return self.forward(*args, **kwargs)
