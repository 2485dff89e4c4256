"""What a tensor dimension is made of: the data in which a declaration, or a tracer, describes a module.

A dimension is a list of *segments* (concatenation), each an ordered product of *factors*: integers, and atoms
(:class:`Width`) of which a subnet keeps the first few units.

>>> heads, size = Width("heads", (2, 4)), Width("head_size", (8, 16))
>>> qkv = 3 * heads * size                       # three blocks, each heads x head_size
>>> qkv.full, qkv.size({"heads": 0, "head_size": 1})
(192, 96)
>>> (Width("a", (1, 2)) + Width("b", (2, 4))).index({"a": 0, "b": 0})
(0, 2, 3)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import InvalidModel
from archsmith.plan import Index

Numbers = Mapping[str, int]
"""Choice name -> number of the option taken."""

INDICES_KEPT = 32
"""How many indices an axis caches."""


@dataclass(frozen=True)
class Width:
    """An atom: a number of interchangeable units, of which a subnet keeps the first few.

    Args:
        choice: name of the choice that decides. The same name in several places is one choice; where the sizes
            differ, the option *number* is what they share, and the choice shows the sizes declared first.
        options: sizes in ascending order; the largest is the size in the model.
        atom: tells apart atoms that share a choice and sizes, whose units are not each other's.
    """

    choice: str
    options: tuple[int, ...]
    atom: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        check_sizes(self.choice, self.options)

    @property
    def full(self) -> int:
        """The size in the model."""
        return self.options[-1]

    def kept(self, numbers: Numbers) -> int:
        """How many units a subnet keeps."""
        return self.options[numbers[self.choice]]

    def __mul__(self, other: AxisLike) -> Axis:
        return as_axis(self) * other

    def __rmul__(self, other: AxisLike) -> Axis:
        return as_axis(other) * self

    def __add__(self, other: AxisLike) -> Axis:
        return as_axis(self) + other

    def __radd__(self, other: AxisLike) -> Axis:
        return as_axis(other) + self

    def __str__(self) -> str:
        return self.choice


Factor = int | Width
Segment = tuple[Factor, ...]


@dataclass(frozen=True)
class Axis:
    """One tensor dimension: segments one after the other, each a product of factors in row-major order."""

    segments: tuple[Segment, ...]

    @cached_property
    def full(self) -> int:
        """The size in the model."""
        return sum(prod(_full(f) for f in segment) for segment in self.segments)

    @cached_property
    def widths(self) -> tuple[Width, ...]:
        """The atoms in it, each once."""
        return tuple(dict.fromkeys(f for segment in self.segments for f in segment if isinstance(f, Width)))

    def size(self, numbers: Numbers) -> int:
        """The size in a subnet."""
        return sum(prod(_kept(f, numbers) for f in segment) for segment in self.segments)

    def index(self, numbers: Numbers) -> Index:
        """What a subnet keeps: ``None`` for all, a prefix wherever it is one, else the positions."""
        taken = tuple(numbers[width.choice] for width in self.widths)
        if taken not in self._indices:
            if len(self._indices) >= INDICES_KEPT:
                self._indices.clear()
            self._indices[taken] = self._index(numbers)
        return self._indices[taken]

    @cached_property
    def _indices(self) -> dict[tuple[int, ...], Index]:
        """Option numbers of the widths -> the index, for recent subnets; most tensors of a network share few axes."""
        return {}

    def _index(self, numbers: Numbers) -> Index:
        size = self.size(numbers)
        if size == self.full:
            return None
        where = self.positions(numbers)
        return size if int(where[-1]) == size - 1 else tuple(where.tolist())

    def positions(self, numbers: Numbers) -> NDArray[np.int64]:
        """The kept positions, ascending."""
        found, start = [], 0
        for segment in self.segments:
            where = np.zeros(1, dtype=np.int64)
            for factor in segment:
                where = (where[:, None] * _full(factor) + np.arange(_kept(factor, numbers))).ravel()
            found.append(where + start)
            start += prod(_full(f) for f in segment)
        return np.concatenate(found)

    def __mul__(self, other: AxisLike) -> Axis:
        """Each unit repeated ``other`` times. Only an integer can be multiplied by a concatenation."""
        right = as_axis(other)
        if len(right.segments) > 1 and self != Axis(((self.full,),)):
            raise InvalidModel(f"({self}) * ({right}): only an integer can repeat a concatenation; multiply its parts")
        if len(right.segments) > 1:
            return Axis(right.segments * self.full)
        return Axis(tuple(_merged(left + right.segments[0]) for left in self.segments))

    def __rmul__(self, other: AxisLike) -> Axis:
        return as_axis(other) * self

    def __add__(self, other: AxisLike) -> Axis:
        return Axis(self.segments + as_axis(other).segments)

    def __radd__(self, other: AxisLike) -> Axis:
        return as_axis(other) + self

    def __str__(self) -> str:
        return " + ".join("*".join(map(str, segment)) for segment in self.segments)


AxisLike = Axis | Width | int


def as_axis(given: AxisLike) -> Axis:
    """An axis from a width, an integer or an axis.

    Raises:
        InvalidModel: for anything else, and for sizes below 1.
    """
    if isinstance(given, Axis):
        return given
    if isinstance(given, Width):
        return Axis(((given,),))
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return Axis(((given,),))
    raise InvalidModel(f"a dimension is made of Width objects and positive integers joined by * and +, got {given!r}")


def split_leading(axis: Axis, size: int) -> tuple[Axis, Axis] | None:
    """``axis`` as (a product of full size ``size``) * (the rest), or ``None`` where it is no such product.

    >>> [str(part) for part in split_leading(8 * Width("w", (1, 3)), 4)]
    ['4', '2*w']
    """
    if len(axis.segments) != 1:
        return None
    leading: list[Factor] = []
    rest = list(axis.segments[0])
    while (missing := size // prod(_full(f) for f in leading)) > 1:
        if not rest:
            return None
        factor = rest.pop(0)
        if isinstance(factor, int) and factor % missing == 0:
            leading.append(missing)
            rest.insert(0, factor // missing)
        elif missing % _full(factor) == 0:
            leading.append(factor)
        else:
            return None
    return Axis((_merged(tuple(leading)),)), Axis((_merged(tuple(rest)),))


@dataclass(frozen=True)
class Kernel:
    """The size of a square convolution kernel as a choice.

    Args:
        choice: name of the choice.
        options: odd sizes in ascending order; the largest is the size in the model.
        policy: how a smaller kernel comes from the largest: ``"centre_crop"``, or ``"kernel_transform"`` with
            learned matrices (see :mod:`archsmith.structure.policies`).
    """

    choice: str
    options: tuple[int, ...]
    policy: str = "centre_crop"

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        check_sizes(self.choice, self.options)
        if len({k % 2 for k in self.options}) > 1:
            raise InvalidModel(f"kernel {self.choice!r}: sizes {self.options} have no common centre; take all odd ones")


@dataclass(frozen=True, kw_only=True)
class Elastic:
    """The dimensions of one module.

    Args:
        out: of the outputs (units, channels).
        into: of the inputs.
        over: of inputs and outputs alike: norms and depthwise convolutions.
        kernel: of a convolution.
    """

    out: AxisLike | None = None
    into: AxisLike | None = None
    over: AxisLike | None = None
    kernel: Kernel | None = None


def check_sizes(choice: str, options: tuple[int, ...]) -> None:
    """Refuse sizes that are not positive integers in ascending order.

    Raises:
        InvalidModel: naming the choice.
    """
    whole = all(isinstance(o, int) and not isinstance(o, bool) and o > 0 for o in options)
    if not options or not whole or list(options) != sorted(set(options)):
        raise InvalidModel(f"{choice!r}: options are positive integers in ascending order, each once; got {options}")


def _full(factor: Factor) -> int:
    return factor if isinstance(factor, int) else factor.full


def _kept(factor: Factor, numbers: Numbers) -> int:
    return factor if isinstance(factor, int) else factor.kept(numbers)


def _merged(segment: Segment) -> Segment:
    """Neighbouring integers multiplied, ones dropped: equal products get equal segments."""
    found: list[Factor] = []
    for factor in segment:
        if isinstance(factor, int) and found and isinstance(found[-1], int):
            found[-1] *= factor
        elif factor != 1:
            found.append(factor)
    return tuple(found) or (1,)
