"""Which operator graphs are the same network: signatures of whole batches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.graph.batch import ABSENT, GraphBatch

Words = NDArray[np.uint64]
_SOURCE, _READER, _CHOSEN = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
"""Odd multipliers, one for each kind of value that a colour is mixed with."""


def signatures(graphs: GraphBatch) -> Words:
    """A number for each graph, ``(n,)``: equal if and only if two graphs of one wiring are isomorphic.

    Isomorphic are graphs with the same operators that read each other equally often, whatever the order of branches;
    identities count as the edges that they stand for, and nodes on no path from the input to the output are left out.
    Colours are refined by what each node reads and what reads it (Weisfeiler and Lehman, 1968); where nodes keep equal
    colours, each of them is singled out in turn and the least signature counts (McKay, 1981). The signatures are exact
    except for collisions of 64-bit hashes.
    """
    counts, labels = _bridged(graphs.alive)
    present = labels != ABSENT
    return _least(np.where(present, _mixed(labels.astype(np.uint64)), np.uint64(0)), counts, present)


def _bridged(graphs: GraphBatch) -> tuple[Words, NDArray[np.int16]]:
    """How often each node reads each other ``(v, v, n)``, past identities, and the labels ``(v, n)`` of the rest."""
    counts = np.ascontiguousarray(np.moveaxis(graphs.edges, 0, 2)).astype(np.uint64)
    labels = np.ascontiguousarray(graphs.labels.T)
    for node in range(1, len(labels) - 1):
        bridged = (labels[node] != ABSENT) & graphs.identities[labels[node]]
        for a in range(node):
            for b in range(node + 1, len(labels)):
                counts[a, b] += counts[a, node] * counts[node, b] * bridged
        counts[:, node, bridged] = counts[node, :, bridged] = 0
        labels[node, bridged] = ABSENT
    return counts, labels


def _least(colours: Words, counts: Words, present: NDArray[np.bool_]) -> Words:
    """The least signature of each graph, ``(n,)``, over all ways to single out nodes of equal colour."""
    v = len(colours)
    edges = [(a, b) for a in range(v) for b in range(a + 1, v) if counts[a, b].any()]
    for _ in range(v):
        near, sources, readers = np.zeros_like(colours), _mixed(colours + _SOURCE), _mixed(colours + _READER)
        for a, b in edges:
            near[b] += counts[a, b] * sources[a]
            near[a] += counts[a, b] * readers[b]
        colours = np.where(present, _mixed(colours + _mixed(near)), np.uint64(0))
    found: Words = _mixed(colours).sum(axis=0, where=present, dtype=np.uint64)
    tied = np.zeros_like(present)
    for a in range(v):
        for b in range(a + 1, v):
            alike = (colours[a] == colours[b]) & present[a] & present[b]
            tied[a] |= alike
            tied[b] |= alike
    if not tied.any():
        return found
    most = np.iinfo(np.uint64).max
    node, graph = np.nonzero(tied & (colours == np.where(tied, colours, most).min(axis=0)))
    single = colours[:, graph]
    single[node, np.arange(len(node))] = _mixed(single[node, np.arange(len(node))] + _CHOSEN)
    found[graph] = most
    np.minimum.at(found, graph, _least(single, counts[:, :, graph], present[:, graph]))
    return found


def _mixed(words: NDArray[Any]) -> Words:
    """Each word scattered over 64 bits (the finaliser of SplitMix64; Steele, Lea and Flood, 2014)."""
    with np.errstate(over="ignore"):
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(words ^ (words >> np.uint64(31)))
