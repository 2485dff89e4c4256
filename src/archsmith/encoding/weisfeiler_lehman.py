"""Motifs: each operator together with what it reads, what that reads, and so on."""

from __future__ import annotations

import hashlib
import math
from typing import final

import numpy as np
from numpy.typing import NDArray

from archsmith.encoding._graphs import blocks, graph_view, no_graphs, sources
from archsmith.encoding.base import Encoding
from archsmith.errors import InvalidOption
from archsmith.graph import ABSENT, GraphBatch
from archsmith.method import Paper
from archsmith.space.choice_space import ChoiceSpace
from archsmith.space.forest import AnyRows

Labels = NDArray[np.uint64]
FEATURE_COUNTS = range(1, 10**5 + 1)
"""Allowed numbers of columns and of sampled architectures."""


@final
class WeisfeilerLehman(Encoding):
    """How often each motif occurs: an operator with what it reads, up to some rounds back.

    In round 0 the label of a node is its operator; in each further round it is its last label together with the
    multiset of the last labels of the nodes that it reads. Labels are 64-bit hashes, the same on every machine, and
    computed for whole populations at once. The columns of a round are the motifs of that round in a fixed sample of the
    space, the most frequent ``most`` of them; all other motifs are counted in the round's last column.

    **Departures from the paper.** Labels are gathered along the direction of the data only; nodes on no path from input
    to output are left out unless ``written``; vocabulary and length are fixed before any architecture is evaluated,
    so that any predictor can read the counts; a motif that has reached the input on all its paths is not counted again
    in later rounds.

    Args:
        space: with a graph view.
        rounds: how far back a motif reaches, from 0 to 6.
        most: columns of a round at most.
        sample: architectures whose motifs make the vocabulary; a space that has no more is enumerated.
        written: count nodes on no path too.

    Shapes:
        rows ``(n, choices)`` -> vectors ``(n, d)`` of counts.

    Raises:
        InvalidSpace: for a space without a graph view.
        InvalidOption: for an option outside its range.
    """

    paper = Paper(
        authors="Ru, Binxin and Wan, Xingchen and Dong, Xiaowen and Osborne, Michael",
        title="Interpretable Neural Architecture Search via Bayesian Optimisation with Weisfeiler-Lehman Kernels",
        year=2021,
        venue="ICLR",
        arxiv="2006.07556",
    )

    def __init__(
        self, space: ChoiceSpace, *, rounds: int = 2, most: int = 400, sample: int = 2000, written: bool = False
    ) -> None:
        for name, value, allowed in (
            ("rounds", rounds, range(7)),
            ("most", most, FEATURE_COUNTS),
            ("sample", sample, FEATURE_COUNTS),
        ):
            if isinstance(value, bool) or value not in allowed:
                raise InvalidOption(f"{name}={value!r} is not a whole number from {allowed[0]} to {allowed[-1]}")
        wiring = graph_view(space, "weisfeiler_lehman")
        self._space, self._written = space, written
        self._sources = sources(wiring)
        # ABSENT reads the last one.
        self._base = np.array([_hashed(name) for name in (*no_graphs(space).operations, "absent")], dtype=np.uint64)
        graphs = self._graphs(_sampled(space, sample))
        self._motifs: list[Labels] = []
        self._names: list[str] = []
        for depth, (labels, counted) in enumerate(self._rounds(graphs, rounds)):
            motifs, first, often = np.unique(labels[counted], return_index=True, return_counts=True)
            chosen = np.sort(np.argsort(-often, kind="stable")[:most])
            self._motifs.append(motifs[chosen])
            nodes = np.argwhere(counted)[first[chosen]]
            self._names += [_text(graphs, int(i), int(place), depth) for i, place in nodes]
            self._names.append(f"other motifs of round {depth}")
        self._depth = rounds

    @property
    def names(self) -> list[str]:
        """Motifs such as ``conv(input, pool(input))``: a convolution that reads the input and a pooling of it."""
        return list(self._names)

    @property
    def rounds(self) -> list[int]:
        """The round of each column's motif."""
        return [depth for depth, motifs in enumerate(self._motifs) for _ in range(len(motifs) + 1)]

    def encode(self, rows: AnyRows) -> NDArray[np.float32]:
        """Canonical rows ``(n, choices)`` as vectors ``(n, d)``."""
        vectors = np.zeros((len(rows), len(self._names)), dtype=np.float32)
        for part in blocks(len(rows), columns=len(self._names)):
            start = 0
            for motifs, (labels, counted) in zip(
                self._motifs, self._rounds(self._graphs(rows[part]), self._depth), strict=True
            ):
                width = len(motifs) + 1
                column = np.searchsorted(motifs, labels)
                known = np.append(motifs, np.uint64(0))[column] == labels
                place = np.where(known, column, len(motifs)) + width * np.arange(len(labels))[:, None]
                counts = np.bincount(place[counted], minlength=width * len(labels))
                vectors[part, start : start + width] = counts.reshape(len(labels), width)
                start += width
        return vectors

    def _graphs(self, rows: AnyRows) -> GraphBatch:
        graphs = self._space.graphs(rows)
        return graphs if self._written else graphs.alive

    def _rounds(self, graphs: GraphBatch, rounds: int) -> list[tuple[Labels, NDArray[np.bool_]]]:
        """For each round the label of each node and whether its motif is counted, ``(n, v)`` each.

        A motif that has reached the input on all its paths no longer grows and is not counted again.
        """
        labels = self._base[graphs.labels]
        there = graphs.labels != ABSENT
        complete: NDArray[np.bool_] = np.logical_not(graphs.edges.any(axis=1))
        counted = there.copy()
        counted[:, [0, -1]] = False  # every graph has an input and an output, so they are not counted alone
        found = [(labels, counted)]
        for _ in range(rounds):
            labels, counted = self._gathered(graphs, labels), there & ~complete
            grown = np.ones_like(complete)
            for place, earlier in enumerate(self._sources):
                for source in earlier:
                    grown[:, place] &= complete[:, source] | ~graphs.edges[:, source, place]
            found.append((labels, counted))
            complete = grown
        return found

    def _gathered(self, graphs: GraphBatch, labels: Labels) -> Labels:
        """A hash of each node's label and of the multiset of the labels that it reads."""
        read = np.zeros_like(labels)
        mixed = _mixed(labels)
        for place, earlier in enumerate(self._sources):
            for source in earlier:
                read[:, place] += mixed[:, source] * graphs.edges[:, source, place]
        return _mixed(labels * np.uint64(3) + _mixed(read))


def _sampled(space: ChoiceSpace, n: int) -> AnyRows:
    """All rows of a small space, the same ``n`` random rows of a larger one."""
    if math.prod(int(k) for k in space.cardinalities) <= n:
        return space.enumerate_rows()
    return space.sample_rows(n, np.random.default_rng(0))


def _hashed(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def _mixed(x: Labels) -> Labels:
    """Each number replaced by one that looks random: the finaliser of the generator SplitMix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Labels = x ^ (x >> np.uint64(31))
    return mixed


def _text(graphs: GraphBatch, i: int, place: int, depth: int) -> str:
    """The motif of one node of graph ``i``, such as ``conv(input)``."""
    name = graphs.operations[int(graphs.labels[i, place])]
    read = np.flatnonzero(graphs.edges[i, :, place])
    if depth == 0 or not read.size:
        return name
    return f"{name}({', '.join(sorted(_text(graphs, i, int(source), depth - 1) for source in read))})"
