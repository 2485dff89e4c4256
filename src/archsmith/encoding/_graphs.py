"""Shared by the encodings of operator graphs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from archsmith.errors import InvalidSpace
from archsmith.graph import GraphBatch
from archsmith.space.choice_space import ChoiceSpace
from archsmith.space.wiring import INPUT, OUTPUT, Wiring

BLOCK_ROWS = 1024
"""How many rows are encoded at once, so that intermediate arrays stay in the processor's cache."""
MOST_NUMBERS = 4_000_000
"""The most numbers of an intermediate array."""


def graph_view(space: ChoiceSpace, encoding: str) -> Wiring:
    """The wiring of ``space``.

    Raises:
        InvalidSpace: for a space without one, naming the ``encoding`` that needs it.
    """
    if space.wiring is None:
        raise InvalidSpace(
            f"the encoding {encoding} reads operator graphs, and {space!r} has no graph view; give the space "
            "wiring=Wiring(...), or take the encoding one_hot"
        )
    return space.wiring


def no_graphs(space: ChoiceSpace) -> GraphBatch:
    """An empty batch; its operations are those of the space."""
    return space.graphs(np.zeros((0, len(space.choices)), dtype=np.int16))


def operators(space: ChoiceSpace, wiring: Wiring) -> list[int]:
    """The labels that nodes between input and output can have; skipped ones only where a choice can be inactive."""
    names = {name for node in wiring.nodes for name in node.operation}
    conditional = any(choice.when is not None for choice in space.choices if choice.name in names)
    return list(range(2 if conditional else 3, len(no_graphs(space).operations)))


def places(wiring: Wiring) -> list[str]:
    """The name of each place in a graph, input and output included."""
    return [INPUT, *(node.name for node in wiring.nodes), OUTPUT]


def sources(wiring: Wiring) -> list[list[int]]:
    """For each place the earlier ones that it may read."""
    names = places(wiring)
    place = {name: i for i, name in enumerate(names)}
    inside = [[place[source] for source in node.inputs] for node in wiring.nodes]
    return [[], *inside, sorted(place[name] for name in wiring.output or names[:-1])]


def blocks(n: int, columns: int = 1) -> Iterator[slice]:
    """Slices that cut ``n`` rows into blocks; smaller ones where a row needs many intermediate ``columns``."""
    step = max(16, min(BLOCK_ROWS, MOST_NUMBERS // columns))
    return (slice(start, start + step) for start in range(0, n, step))
