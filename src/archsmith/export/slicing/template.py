"""Which numbers of a node depend on the sizes of a subnet, and how, found from the graphs of a few subnets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.export.slicing.onnx_graph import Graph, NotSliceable, OnnxNode
from archsmith.export.slicing.symbolic_sizes import Formula, Key, Search

Array = NDArray[Any]
MAX_SEPARATE_NUMBERS = 64
"""Arrays of more numbers get one formula as a whole, not one for each number."""

Make = Callable[[Mapping[Key, int], Mapping[str, Array]], Array]
"""Gives the value of an attribute from the sizes of a subnet and its tensors."""


class Numbers:
    """The values seen of every attribute that is a number or an array, by node of the largest graph."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = [*graph.nodes, *graph.outputs]
        self._seen: dict[tuple[int, str], dict[int, Array]] = {
            (i, name): {0: a.value}
            for i, node in enumerate(self.nodes)
            for name, a in node.attributes.items()
            if isinstance(a.value, np.ndarray)
        }

    def see(self, subnet: int, number: int, node: OnnxNode) -> None:
        """Note the numbers of a node in a subnet.

        Args:
            subnet: its position among the exported subnets; the largest is 0.
            number: of the node in the largest graph, outputs after all others.
            node: as the subnet has it.
        """
        for name, attribute in node.attributes.items():
            if isinstance(attribute.value, np.ndarray):
                self._seen[number, name][subnet] = attribute.value

    def makers(self, search: Search, tensors: Sequence[Mapping[str, Array]]) -> dict[int, dict[str, Make]]:
        """How to compute what differs between subnets: number of the node -> attribute -> function.

        Args:
            search: over the sizes of the exported subnets.
            tensors: of each of them.

        Raises:
            NotSliceable: for a number that follows no size.
        """
        found: dict[int, dict[str, Make]] = {}
        for (number, name), seen in self._seen.items():
            if all(_same(seen[0], value) for value in seen.values()):
                continue
            node = self.nodes[number]
            near = node.place
            make = _elements(seen, search, near) or _filled(seen, search, near)
            make = make or _tensor(seen, tensors) or _corner(seen, search, near)
            if make is None:
                raise NotSliceable(
                    f"{name} of {node.op} at {node.place or 'the top'} follows no size: "
                    f"{', '.join(str(v.tolist() if v.size < 9 else v.shape) for v in seen.values())[:120]}"
                )
            found.setdefault(number, {})[name] = make
        return found


def _same(one: Array, other: Array) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _elements(seen: Mapping[int, Array], search: Search, near: str) -> Make | None:
    """Short arrays, number by number."""
    full = seen[0]
    if (
        full.size > MAX_SEPARATE_NUMBERS
        or full.dtype.kind not in "iuf"
        or any(v.shape != full.shape for v in seen.values())
    ):
        return None
    flat = {subnet: value.reshape(-1).tolist() for subnet, value in seen.items()}
    formulas = [search.formula({s: v[i] for s, v in flat.items()}, near) for i in range(full.size)]
    if any(f is None for f in formulas):
        return None
    whole = full.dtype.kind in "iu"

    def make(sizes: Mapping[Key, int], _tensors: Mapping[str, Array]) -> Array:
        values = [formula(sizes) for formula in formulas if formula is not None]
        return np.array([round(v) for v in values] if whole else values, full.dtype).reshape(full.shape)

    return make


def _shape(
    seen: Mapping[int, Array], search: Search, near: str
) -> Callable[[Mapping[Key, int]], tuple[int, ...]] | None:
    if any(v.ndim != seen[0].ndim for v in seen.values()):
        return None
    formulas: list[Formula] = []
    for dim in range(seen[0].ndim):
        formula = search.formula({s: float(v.shape[dim]) for s, v in seen.items()}, near)
        if formula is None:
            return None
        formulas.append(formula)
    return lambda sizes: tuple(round(f(sizes)) for f in formulas)


def _filled(seen: Mapping[int, Array], search: Search, near: str) -> Make | None:
    """Arrays of one and the same number."""
    value = seen[0].reshape(-1)[:1]
    if any(not v.size or (v != value).any() for v in seen.values()):
        return None
    shape = _shape(seen, search, near)
    return shape and (lambda sizes, _: np.full(shape(sizes), value[0], value.dtype))


def _corner(seen: Mapping[int, Array], search: Search, near: str) -> Make | None:
    """The first rows and columns of the largest network's array: positions, masks."""
    full, shape = seen[0], _shape(seen, search, near)
    fits = all(_same(v, full[tuple(map(slice, v.shape))]) for v in seen.values() if v.ndim == full.ndim)
    return (lambda sizes, _: full[tuple(map(slice, shape(sizes)))].copy()) if shape and fits else None


def _tensor(seen: Mapping[int, Array], tensors: Sequence[Mapping[str, Array]]) -> Make | None:
    """A buffer that the exporter writes as a constant."""
    for name, full in tensors[0].items():
        if _same(full, seen[0]) and all(name in tensors[s] and _same(tensors[s][name], v) for s, v in seen.items()):
            return lambda _, mine: mine[name]
    return None
