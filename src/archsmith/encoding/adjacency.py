"""The operator graph itself: its edges, and the operator of each node."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from archsmith.encoding._graphs import blocks, graph_view, no_graphs, operators, places, sources
from archsmith.encoding.base import Encoding
from archsmith.method import Paper
from archsmith.space.choice_space import ChoiceSpace
from archsmith.space.forest import AnyRows


@final
class Adjacency(Encoding):
    """The adjacency matrix of the operator graph and one column for each operator at each node.

    **Departures from the paper.** Only those entries of the matrix are columns that some architecture of the space can
    set; and by default nodes and edges that lie on no path from input to output are left out, so that networks that
    compute the same are nearer to each other.

    Args:
        space: with a graph view.
        written: keep nodes and edges that lie on no path.

    Shapes:
        rows ``(n, choices)`` -> vectors ``(n, d)`` of zeros and ones.

    Raises:
        InvalidSpace: for a space without a graph view.
    """

    paper = Paper(
        authors="White, Colin and Neiswanger, Willie and Nolen, Sam and Savani, Yash",
        title="A Study on Encodings for Neural Architecture Search",
        year=2020,
        venue="NeurIPS",
        arxiv="2007.04965",
    )

    def __init__(self, space: ChoiceSpace, *, written: bool = False) -> None:
        wiring = graph_view(space, "adjacency")
        self._space, self._written = space, written
        arrows = [(source, place) for place, earlier in enumerate(sources(wiring)) for source in earlier]
        self._tails, self._heads = np.array(arrows).T
        self._labels = np.array(operators(space, wiring), dtype=np.int16)
        operations, at = no_graphs(space).operations, places(wiring)
        self._names = [f"{at[source]}->{at[place]}" for source, place in arrows]
        self._names += [f"{node}: {operations[label]}" for node in at[1:-1] for label in self._labels]

    @property
    def names(self) -> list[str]:
        """``tail->head`` of each edge, then ``node: operator``."""
        return list(self._names)

    def encode(self, rows: AnyRows) -> NDArray[np.float32]:
        """Canonical rows ``(n, choices)`` as vectors ``(n, d)``."""
        vectors = np.empty((len(rows), len(self._names)), dtype=np.float32)
        for part in blocks(len(rows), columns=len(self._names)):
            graphs = self._space.graphs(rows[part])
            graphs = graphs if self._written else graphs.alive
            codes = graphs.labels[:, 1:-1, None] == self._labels
            edges = graphs.edges[:, self._tails, self._heads]
            vectors[part] = np.concatenate([edges, codes.reshape(len(codes), -1)], axis=1)
        return vectors
