"""A tiny public benchmark for tests: 48 chains of three layers, with a value missing here and there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from archsmith.benchmark import Benchmark, Contents, Sources, open_benchmark
from archsmith.method import OURS
from archsmith.metric import Metric
from archsmith.space import Choice, ChoiceSpace, Node, Wiring

MISSING = (3, 3, 2)
"""Option indices of the one architecture without a latency."""


@final
class TinyTable(Benchmark):
    """All 48 chains of three layers with a made-up accuracy, latency (one is missing) and size.

    Its spec is ``archsmith.testing.tables:TinyTable``, so that other processes can open it too.
    """

    paper = OURS

    @property
    def how_to_get(self) -> str:
        """No file at all."""
        return "It is made by archsmith.testing.tables.tiny_benchmark."

    @cached_property
    def space(self) -> ChoiceSpace:
        """Three layers; the first two with four options, one of them the identity, the last with three."""
        layer = ("identity", "conv1", "conv3", "conv5")
        choices = [Choice("a", layer, "categorical"), Choice("b", layer, "categorical"), Choice("width", (8, 16, 32))]
        nodes = (
            Node("a", ("a",), identity=("identity",)),
            Node("b", ("b",), ("a",), identity=("identity",)),
            Node("c", ("width",), ("b",)),
        )
        return ChoiceSpace(choices, name="tiny", wiring=Wiring(nodes))

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """``val_acc`` is wanted high, ``latency_ms`` and ``params`` low."""
        found = (
            Metric("val_acc", "%", "max", "made up"),
            Metric("latency_ms", "ms", "min", "made up; missing once"),
            Metric("params", "1", "min", "made up"),
        )
        return {m.name: m for m in found}

    def read(self, sources: Sources) -> Contents | None:
        """The same numbers whatever the sources are."""
        rows = self.space.enumerate_rows()
        return Contents(rows, tiny_columns(rows), str(sources.place))


def tiny_columns(rows: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """What the tiny table says of ``rows (n, 3)``: smooth in the layers, with a ripple that makes values differ."""
    a, b, width = rows.astype(np.float64).T
    ripple = np.sin(7 * a + 3 * b + 5 * width)
    latency = 1 + a + 0.8 * b + 0.5 * 2**width + 0.1 * ripple
    latency[(rows == MISSING).all(axis=1)] = np.nan
    return {
        "val_acc": 60 + 6 * np.sqrt(a) + 5 * np.sqrt(b) + 3 * width + ripple,
        "latency_ms": latency,
        "params": 100 * (1 + a**2 + b**2) * 2**width,
    }


def tiny_benchmark(folder: Path) -> Benchmark:
    """The tiny table, written into ``folder`` and opened from it."""
    TinyTable(folder).build(Sources(folder))
    return open_benchmark("archsmith.testing.tables:TinyTable", folder)
