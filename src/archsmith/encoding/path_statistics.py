"""A few numbers about a graph, for predictors that learn from dozens of architectures."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from archsmith.encoding._graphs import blocks, graph_view, no_graphs, operators, sources
from archsmith.encoding.base import Encoding
from archsmith.graph import ABSENT, GraphBatch
from archsmith.method import OURS
from archsmith.space.choice_space import ChoiceSpace
from archsmith.space.forest import AnyRows


@final
class PathStatistics(Encoding):
    """Statistics of the paths of an operator graph: counts, lengths, and the average of each operator over all paths.

    For every operator: how often it is alive (on a path from input to output), how often it is written, the most of it
    on one path, its average number over all paths, how often it reads the input and how often the output reads it. And
    the longest and the shortest path without counting identities, the number of paths and its logarithm, of live
    operators and of edges, and whether there is no path at all. A smaller set than that of
    :class:`~archsmith.encoding.graph_features.GraphFeatures`: a Gaussian process with one length for all features
    predicts better from it.

    Args:
        space: with a graph view.

    Shapes:
        rows ``(n, choices)`` -> vectors ``(n, d)``; lengths are -1 where there is no path.

    Raises:
        InvalidSpace: for a space without a graph view.
    """

    paper = OURS

    def __init__(self, space: ChoiceSpace) -> None:
        wiring = graph_view(space, "path_statistics")
        self._space, self._sources = space, sources(wiring)
        everything = no_graphs(space)
        self._operators = np.array(operators(space, wiring), dtype=np.int16)
        # Of each label whether it counts as a step; that of ABSENT is the last.
        self._steps = np.append(~everything.identities, False).astype(np.float32)
        self._steps[:2] = 0
        named = [everything.operations[label] for label in self._operators]
        kinds = ("alive", "written", "most", "average", "first", "last")
        self._names = [f"{kind}({name})" for kind in kinds for name in named]
        self._names += ["longest", "shortest", "paths", "log paths", "live", "edges", "disconnected"]

    @property
    def names(self) -> list[str]:
        """Such as ``average(conv)`` for an operator, and ``longest``."""
        return list(self._names)

    def encode(self, rows: AnyRows) -> NDArray[np.float32]:
        """Canonical rows ``(n, choices)`` as vectors ``(n, d)``."""
        vectors = np.empty((len(rows), len(self._names)), dtype=np.float32)
        for part in blocks(len(rows)):
            vectors[part] = np.concatenate(self._columns(self._space.graphs(rows[part]))).T
        return vectors

    def _columns(self, written: GraphBatch) -> list[NDArray[Any]]:
        """All columns, each ``(operators, n)`` or ``(1, n)``."""
        alive = written.alive
        kinds = self._operators[:, None, None]
        here = (kinds == alive.labels.T).astype(np.float32)  # (operators, v, n)
        edges = np.ascontiguousarray(alive.edges.transpose(1, 2, 0)).astype(np.float32)
        steps = self._steps[alive.labels.T]
        v, n = steps.shape
        paths, total = np.zeros((v, n), np.float32), np.zeros((len(kinds), v, n), np.float32)
        most = np.zeros((len(kinds), v, n), np.float32)
        longest, left = np.zeros((v, n), np.float32), np.zeros((v, n), np.float32)
        paths[0], left[0] = 1, v  # minima are stored as the distance from v, so that a missing edge is 0
        for place in range(1, v):
            for source in self._sources[place]:
                edge = edges[source, place]
                paths[place] += edge * paths[source]
                total[:, place] += edge * total[:, source]
                np.maximum(most[:, place], edge * most[:, source], out=most[:, place])
                np.maximum(longest[place], edge * longest[source], out=longest[place])
                np.maximum(left[place], edge * left[source], out=left[place])
            total[:, place] += here[:, place] * paths[place]
            most[:, place] += here[:, place]
            longest[place] += steps[place]
            left[place] = np.maximum(left[place] - steps[place], 0)
        dead = paths[-1] == 0
        return [
            here.sum(axis=1),
            (kinds == written.labels.T).sum(axis=1),
            np.where(dead, -1, most[:, -1]),
            total[:, -1] / np.maximum(paths[-1], 1),
            (here * edges[0]).sum(axis=1),
            (here * edges[:, -1]).sum(axis=1),
            np.stack(
                [
                    np.where(dead, -1, longest[-1]),
                    np.where(dead, -1, v - left[-1]),
                    paths[-1],
                    np.log1p(paths[-1]),
                    (alive.labels[:, 1:-1] != ABSENT).sum(axis=1),
                    alive.edges.sum(axis=(1, 2)),
                    dead,
                ]
            ),
        ]
