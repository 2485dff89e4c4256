"""What a user wants to be elastic."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any, Literal, get_args

from archsmith.discovery.naming import COUNTED_ROLES, AtomMember
from archsmith.errors import InvalidOption, unknown, whole
from archsmith.structure.blocks import Blocks, Branch

Sizes = Sequence[int | float]
"""Shares of the full size (floats up to 1.0), or sizes (integers)."""


Via = Literal["auto", "modules", "graph"]


@dataclass(frozen=True)
class Elasticity:
    """What may become elastic.

    Patterns are those of the shell (``"blocks.*.mlp.*"``), and stand for all names that begin so (``"blocks.0"``). They
    are matched with the names of choices.

    Args:
        width: shares of every width that are offered; ``(1.0,)`` keeps all widths.
        depth: smallest share of a container's blocks that stays; ``1.0`` keeps all.
        branches: whether residual branches (``x + f(x)``) can be left out one by one, beside whole blocks.
        kernel: smallest size that is offered for odd kernels of 5 and more; ``None`` keeps all kernels.
        multiple: sizes are rounded to multiples of it; counts of heads and groups are not.
        only: patterns of what may vary; empty for everything.
        freeze: patterns of what must not; also of modules and tensors that must stay as they are.
        tie: patterns; the choices that match one become one choice of that name.
        options: pattern of choices -> sizes, or shares of the full size.
        homogeneous: all layers alike, as the configuration of a transformers model can say: see
            :meth:`Supernet.stock`.
        importance: how units are put in order once, see :meth:`Supernet.sort_units`; ``None`` leaves them.
        resolution: heights of images that are offered, or shares of the example's; none keeps it.
        via: ``"graph"`` replaces modules whose code has plain numbers as sizes by graph modules, ``"auto"`` does so
            where that makes more weights elastic, ``"modules"`` never.

    Raises:
        InvalidOption: for values outside these rules.
    """

    width: Sizes = (0.5, 0.75, 1.0)
    depth: float = 0.5
    branches: bool = False
    kernel: int | None = 3
    multiple: int = 8
    only: Sequence[str] = ()
    freeze: Sequence[str] = ()
    tie: Sequence[str] = ()
    options: Mapping[str, Sizes] = field(default_factory=dict)
    homogeneous: bool = False
    importance: Literal["l1"] | None = "l1"
    resolution: Sizes = ()
    via: Via = "auto"

    def __post_init__(self) -> None:
        for name in ("only", "freeze", "tie"):
            patterns = getattr(self, name)
            if isinstance(patterns, str) or not isinstance(patterns, Sequence):
                raise InvalidOption(f"{name} is a list of patterns, got {patterns!r}; write [...]")
        if not _is_number(self.depth) or not 0 < self.depth <= 1:
            raise InvalidOption(f"depth is the smallest share of blocks that stays, in (0, 1]; got {self.depth!r}")
        if self.via not in get_args(Via):
            raise InvalidOption(f"via is one of {', '.join(get_args(Via))}; got {self.via!r}")
        whole("multiple", self.multiple, 1)
        if self.kernel is not None:
            whole("kernel", self.kernel, 1)
        given = {} if self.resolution in ((), []) else {"resolution": self.resolution}
        for name, sizes in {"width": self.width, **given, **self.options}.items():
            if not isinstance(sizes, Sequence) or not sizes or not all(_is_size(s) for s in sizes):
                raise InvalidOption(
                    f"{name} is a list of sizes (positive integers) or of shares of the full size (0 < share <= 1.0), "
                    f"such as (0.5, 1.0); got {sizes!r}"
                )

    def refusal(self, name: str, places: Iterable[str]) -> str:
        """Why the user excluded a choice that changes ``places``, or ``""``."""
        for pattern in self.freeze:
            if any(_matches(n, pattern) for n in (name, *places)):
                return f"frozen by {pattern!r}"
        if self.only and not any(_matches(name, p) for p in self.only):
            return "not among what may vary (only=...)"
        return ""

    def sizes(self, member: AtomMember) -> tuple[int, ...]:
        """The options of an atom, ascending, with its full size at the end.

        Raises:
            InvalidOption: for sizes that it does not have.
        """
        full = member.atom.size
        given = next((s for p, s in self.options.items() if _matches(member.name, p)), None)
        step = 1 if member.role in COUNTED_ROLES or given is not None else self.multiple
        found = {full}
        for size in self.width if given is None else given:
            if isinstance(size, float):
                rounded = max(round(size * full / step), 1) * step
                found |= {min(rounded, full)} if rounded < full else set()
            elif size > full:
                raise InvalidOption(f"{member.name}: {size} is more than its full size, {full}; give at most that")
            else:
                found.add(size)
        return tuple(sorted(found))

    def deep(self, blocks: Blocks | Branch) -> Blocks | Branch:
        """The same blocks with the depths that the user asked for, if any.

        Raises:
            InvalidOption: for impossible numbers of blocks.
        """
        given = next((s for p, s in self.options.items() if _matches(blocks.name, p)), None)
        if given is None or isinstance(blocks, Branch):
            return blocks
        full = len(blocks.children)
        sizes = {max(round(s * full), 1) if isinstance(s, float) else s for s in given} | {full}
        least = max(full - len(blocks.droppable), 1)
        if min(sizes) < least or max(sizes) > full:
            raise InvalidOption(f"{blocks.name} can be {least} to {full} blocks deep; options ask for {sorted(sizes)}")
        return replace(blocks, options=tuple(sorted(sizes)))

    def shared(self, name: str) -> str:
        """The name of the choice that ``name`` is tied into, or its own."""
        alike = re.sub(r"\.\d+(?=\.)", ".*", name) if self.homogeneous else name
        return next((p for p in self.tie if _matches(name, p)), alike)

    def check(self, known: Sequence[str], choices: Sequence[str]) -> None:
        """Refuse patterns that match nothing.

        Raises:
            UnknownName: with the nearest name.
        """
        for pattern in self.freeze:
            if not any(_matches(n, pattern) for n in known):
                raise unknown("choice, module or tensor", pattern, choices)
        for pattern in (*self.only, *self.tie, *self.options):
            if not any(_matches(n, pattern) for n in choices):
                raise unknown("choice", pattern, choices)


def _is_number(given: Any) -> bool:
    return isinstance(given, Real) and not isinstance(given, bool)


def _is_size(given: Any) -> bool:
    return _is_number(given) and given > 0 and not (isinstance(given, float) and given > 1)


def _matches(name: str, pattern: str) -> bool:
    """Whether a shell pattern matches the name, or the start of it up to a dot."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
