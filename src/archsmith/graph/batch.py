"""Many architectures as operator graphs at once: arrays of labels and edges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

ABSENT = -1
"""The label of a node that an architecture does not have."""


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """``n`` directed acyclic graphs over the same ``v`` places; place 0 is the input, place ``v - 1`` the output.

    Args:
        operations: name of each label; the first two are ``"input"`` and ``"output"``.
        identities: for each label whether it returns its input unchanged, ``(len(operations),)``.
        labels: index into ``operations``, or :data:`ABSENT`, ``(n, v)``.
        edges: ``edges[i, a, b]`` where node ``b`` of graph ``i`` reads node ``a``; only with ``a < b`` and between
            nodes that are there, ``(n, v, v)``.
    """

    operations: tuple[str, ...]
    identities: NDArray[np.bool_]
    labels: NDArray[np.int16]
    edges: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, which: Any) -> GraphBatch:
        """The graphs at an array of indices or a slice."""
        return GraphBatch(self.operations, self.identities, self.labels[which], self.edges[which])

    @cached_property
    def live(self) -> NDArray[np.bool_]:
        """Which nodes lie on a path from the input to the output, ``(n, v)``."""
        n, v = self.labels.shape
        fed, needed = np.zeros((n, v), dtype=bool), np.zeros((n, v), dtype=bool)
        fed[:, 0] = needed[:, -1] = True
        for node in range(1, v):
            fed[:, node] = (fed[:, :node] & self.edges[:, :node, node]).any(axis=1)
        for node in range(v - 2, -1, -1):
            needed[:, node] = (needed[:, node + 1 :] & self.edges[:, node, node + 1 :]).any(axis=1)
        return fed & needed

    @cached_property
    def alive(self) -> GraphBatch:
        """The same graphs without the nodes and edges that do not lie on a path from input to output."""
        labels = np.where(self.live, self.labels, ABSENT).astype(np.int16)
        labels[:, [0, -1]] = [0, 1]
        return GraphBatch(
            self.operations, self.identities, labels, self.edges & self.live[:, :, None] & self.live[:, None, :]
        )
