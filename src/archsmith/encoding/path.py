"""Which sequences of operators lead from the input to the output."""

from __future__ import annotations

import itertools
from typing import final

import numpy as np
from numpy.typing import NDArray

from archsmith.encoding._graphs import blocks, graph_view, no_graphs, operators, sources
from archsmith.encoding.base import Encoding
from archsmith.errors import InvalidOption
from archsmith.graph import GraphBatch
from archsmith.method import Paper
from archsmith.space.choice_space import ChoiceSpace
from archsmith.space.forest import AnyRows

Floats = NDArray[np.float32]


@final
class Path(Encoding):
    """How many paths from input to output read each sequence of operators; identities are passed over.

    There is a column for every sequence of up to ``length`` operators, the empty one included, whether or not it occurs
    in the space: the columns are known before any architecture. ``length`` is the longest with which there are at most
    ``most`` of them, at least 1 and no longer than any path. A longer path has no column of its own: each run of
    ``length`` neighbouring operators in it is counted instead, in columns called ``...a>b...``.

    **Departures from the paper.** Counts instead of indicators, because two equal paths are more than one; identities
    are no operators; and longer paths are counted by their pieces instead of being left out.

    Args:
        space: with a graph view.
        most: columns of whole sequences at most.

    Shapes:
        rows ``(n, choices)`` -> vectors ``(n, d)`` of whole numbers.

    Raises:
        InvalidSpace: for a space without a graph view.
        InvalidOption: for ``most`` below 2.
    """

    paper = Paper(
        authors="White, Colin and Neiswanger, Willie and Savani, Yash",
        title="BANANAS: Bayesian Optimization with Neural Architectures for Neural Architecture Search",
        year=2021,
        venue="AAAI",
        arxiv="1910.11858",
    )

    def __init__(self, space: ChoiceSpace, *, most: int = 1000) -> None:
        if isinstance(most, bool) or most < 2:
            raise InvalidOption(f"most={most!r} columns are too few for sequences; give at least 2")
        wiring = graph_view(space, "path")
        self._space, self._sources = space, sources(wiring)
        everything = no_graphs(space)
        labels = [label for label in operators(space, wiring) if not everything.identities[label]]
        k = len(labels)
        # [label]: the position among the operators, -1 for identities.
        self._digit = np.full(len(everything.operations) + 1, -1)
        self._digit[labels] = np.arange(k)
        named = [everything.operations[label] for label in labels]
        deepest = _deepest(self._sources)
        self._length = next((n for n in range(1, deepest) if sum(k**i for i in range(n + 2)) > most), deepest)
        self._k, self._cut = k, self._length < deepest
        whole = [s for n in range(self._length + 1) for s in itertools.product(named, repeat=n)]
        self._names = [">".join(["input", *sequence, "output"]) for sequence in whole]
        self._whole = len(whole)
        if self._cut:
            self._names += [f"...{'>'.join(run)}..." for run in itertools.product(named, repeat=self._length)]

    @property
    def names(self) -> list[str]:
        """Such as ``input>conv>pool>output``."""
        return list(self._names)

    def encode(self, rows: AnyRows) -> NDArray[np.float32]:
        """Canonical rows ``(n, choices)`` as vectors ``(n, d)``."""
        vectors = np.empty((len(rows), len(self._names)), dtype=np.float32)
        for part in blocks(len(rows), columns=len(self._names) * len(self._sources)):
            vectors[part] = self._counted(self._space.graphs(rows[part])).T
        return vectors

    def _counted(self, graphs: GraphBatch) -> Floats:
        """How often each sequence and each run occurs, ``(d, n)``.

        Sequences are numbered like a heap: with operator ``o`` at its end, sequence ``s`` is number ``s k + o + 1``.
        """
        k, n = self._k, len(graphs)
        edges = np.ascontiguousarray(graphs.edges.transpose(1, 2, 0)).astype(np.float32)
        digits = self._digit[graphs.labels].T
        runs = np.zeros((k**self._length if self._cut else 0, n), dtype=np.float32)
        onwards = _onwards(edges, self._sources)
        whole = np.zeros((len(edges), self._whole, n), dtype=np.float32)
        long = np.zeros((len(edges), *runs.shape), dtype=np.float32)
        whole[0, 0] = 1
        shorter = self._whole - k**self._length
        for place in range(1, len(edges)):
            arrived, arrived_long = whole[place], long[place]
            for source in self._sources[place]:
                arrived += whole[source] * edges[source, place]
                arrived_long += long[source] * edges[source, place]
            if place == len(edges) - 1:
                break
            handed_on = (digits[place] < 0).astype(np.float32)
            before = arrived.copy()
            arrived *= handed_on
            for o in range(k):
                arrived[o + 1 :: k] += before[:shorter] * (digits[place] == o)
            if self._cut:
                full = before[shorter:]
                runs += full * ((1 - handed_on) * onwards[place])
                shortened = (full + arrived_long).reshape(k, -1, n).sum(axis=0)
                arrived_long *= handed_on
                for o in range(k):
                    lengthened = shortened * (digits[place] == o)
                    arrived_long[o::k] += lengthened
                    runs[o::k] += lengthened * onwards[place]
        return np.concatenate([whole[-1], runs])


def _onwards(edges: Floats, sources: list[list[int]]) -> Floats:
    """From each place, the number of paths to the output, ``(v, n)``."""
    paths = np.zeros(edges.shape[1:], dtype=np.float32)
    paths[-1] = 1
    for place in reversed(range(len(sources))):
        for source in sources[place]:
            paths[source] += edges[source, place] * paths[place]
    return paths


def _deepest(sources: list[list[int]]) -> int:
    """How many operators the longest path has that any wiring of the space can have."""
    depth = [0]
    for earlier in sources[1:]:
        depth.append(1 + max((depth[source] for source in earlier), default=0))
    return depth[-1] - 1
