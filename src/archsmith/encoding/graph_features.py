"""A few dozen numbers about an operator graph: operators, paths, degrees."""

from __future__ import annotations

import itertools
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from archsmith.encoding._graphs import blocks, graph_view, no_graphs, operators, sources
from archsmith.encoding.base import Encoding
from archsmith.errors import InvalidOption
from archsmith.graph import ABSENT, GraphBatch
from archsmith.method import Paper
from archsmith.space.choice_space import ChoiceSpace
from archsmith.space.forest import AnyRows


@final
class GraphFeatures(Encoding):
    """Operator counts, path lengths over sets of operators, and degrees by operator.

    For every operator: how often it occurs, how often on a path from input to output, how often it reads the input
    there, and how often the output reads it. For every set of operators: the most and the fewest of them on one path,
    and the length of the shortest path through nothing else. And the numbers of operators, edges and paths. All are
    computed for whole populations of operator graphs, by dynamic programming over their places.

    **Departures from the paper.** Operators stand on nodes here, also in cells that draw them on edges. Degrees are
    those of input and output only, because an encoding of the choices beside this one has the rest. Dead operators are
    counted too, because they have an effect in measured tables. With more than ``exhaustive`` operators the sets are
    the single operators, all but one, all, and all that compute, instead of every set.

    Args:
        space: with a graph view.
        exhaustive: up to so many operators every set of them is used, from 1 to 8.

    Shapes:
        rows ``(n, choices)`` -> vectors ``(n, d)``. Where there is no path at all, the most is 0, and the fewest and
        the shortest are one more than any path has.

    Raises:
        InvalidSpace: for a space without a graph view.
        InvalidOption: for another ``exhaustive``.
    """

    paper = Paper(
        authors="Kadlecová, Gabriela and Lukasik, Jovita and Pilát, Martin and Vidnerová, Petra and Safari, Mahmoud "
        "and Neruda, Roman and Hutter, Frank",
        title="Surprisingly Strong Performance Prediction with Neural Graph Features",
        year=2024,
        venue="ICML",
        arxiv="2404.16551",
    )

    def __init__(self, space: ChoiceSpace, *, exhaustive: int = 4) -> None:
        if isinstance(exhaustive, bool) or exhaustive not in range(1, 9):
            raise InvalidOption(f"exhaustive={exhaustive!r} is not a whole number from 1 to 8")
        wiring = graph_view(space, "graph_features")
        self._space, self._sources = space, sources(wiring)
        everything = no_graphs(space)
        self._operators = np.array(operators(space, wiring), dtype=np.int16)
        named = [everything.operations[label] for label in self._operators]
        sets = _sets([bool(everything.identities[label]) for label in self._operators], exhaustive)
        # [set, label]: whether the operation is in the set. The column of ABSENT is the last and empty.
        self._member = np.zeros((len(sets), len(everything.operations) + 1), dtype=np.int16)
        for j, chosen in enumerate(sets):
            self._member[j, self._operators[list(chosen)]] = 1
        texts = ["+".join(named[i] for i in chosen) for chosen in sets]
        self._names = [f"{kind}({name})" for kind in ("written", "alive", "first", "last") for name in named]
        self._names += [f"{kind}({text})" for kind in ("most", "fewest", "shortest") for text in texts]
        self._names += ["written", "alive", "edges", "log paths"]

    @property
    def names(self) -> list[str]:
        """Such as ``alive(conv)`` for an operator and ``most(conv+pool)`` for a set of them."""
        return list(self._names)

    def encode(self, rows: AnyRows) -> NDArray[np.float32]:
        """Canonical rows ``(n, choices)`` as vectors ``(n, d)``."""
        vectors = np.empty((len(rows), len(self._names)), dtype=np.float32)
        for part in blocks(len(rows)):
            written = self._space.graphs(rows[part])
            columns: list[NDArray[Any]] = [
                self._by_operator(written),
                self._lengths(written.alive),
                self._totals(written),
            ]
            vectors[part] = np.concatenate(columns).T
        return vectors

    def _by_operator(self, written: GraphBatch) -> NDArray[np.int16]:
        """How often each operator is written, alive, reads the input and is read by the output, ``(4 k, n)``."""
        kinds = self._operators[:, None, None]
        alive = written.alive
        here = kinds == alive.labels[:, 1:-1].T
        which = [
            kinds == written.labels[:, 1:-1].T,
            here,
            here & alive.edges[:, 0, 1:-1].T,
            here & alive.edges[:, 1:-1, -1].T,
        ]
        return np.concatenate([x.sum(axis=1, dtype=np.int16) for x in which])

    def _totals(self, written: GraphBatch) -> NDArray[np.float32]:
        """How many operators, edges and paths there are, ``(4, n)``."""
        alive = written.alive
        paths = np.zeros((written.labels.shape[1], len(written)))
        paths[0] = 1
        for place, earlier in enumerate(self._sources):
            for source in earlier:
                paths[place] += alive.edges[:, source, place] * paths[source]
        there = [(g.labels[:, 1:-1] != ABSENT).sum(axis=1) for g in (written, alive)]
        return np.array([*there, alive.edges.sum(axis=(1, 2)), np.log1p(paths[-1])], dtype=np.float32)

    def _lengths(self, alive: GraphBatch) -> NDArray[np.int16]:
        """The most and the fewest operators of each set on one path, and of the shortest path inside it, ``(3 s, n)``.

        Minima are stored as the distance from ``none``, more than any path has: so all are maxima, and a missing edge
        is a factor 0.
        """
        n, v = alive.labels.shape
        none = np.int16(v - 1)
        most, fewest, shortest = np.zeros((3, v, self._member.shape[0], n), np.int16)
        fewest[0] = shortest[0] = none
        edges = np.ascontiguousarray(alive.edges.transpose(1, 2, 0)).astype(np.int16)
        for place in range(1, v):
            for lengths in (most, fewest, shortest):
                for source in self._sources[place]:
                    np.maximum(lengths[place], lengths[source] * edges[source, place], out=lengths[place])
            if place < v - 1:
                inside = self._member[:, alive.labels[:, place]]
                most[place] += inside
                fewest[place] = np.maximum(fewest[place] - inside, 0)
                shortest[place] = np.maximum(shortest[place] - 1, 0) * inside
        return np.concatenate([most[-1], none - fewest[-1], none - shortest[-1]])


def _sets(identities: list[bool], exhaustive: int) -> list[tuple[int, ...]]:
    """The sets of operators whose paths are measured, as positions, each once."""
    k = len(identities)
    if k <= exhaustive:
        return [chosen for size in range(1, k + 1) for chosen in itertools.combinations(range(k), size)]
    everything = tuple(range(k))
    found = [(i,) for i in everything] + [everything[:i] + everything[i + 1 :] for i in everything]
    found += [everything, tuple(i for i in everything if not identities[i])]
    return [chosen for chosen in dict.fromkeys(found) if chosen]
