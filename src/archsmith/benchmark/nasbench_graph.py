"""NAS-Bench-Graph: graph neural networks on citation graphs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from archsmith.benchmark._pickle import read_plain_pickle
from archsmith.benchmark._sources import Sources, frame_numbers
from archsmith.benchmark.base import Benchmark, Contents
from archsmith.errors import InvalidData, unknown
from archsmith.method import Paper
from archsmith.metric import Metric
from archsmith.space import Choice, ChoiceSpace, Isomorphic, Node, Wiring

DATASETS = ("arxiv", "citeseer", "cora", "pubmed")
LINKS = ("0000", "0001", "0011", "0012", "0013", "0111", "0112", "0122", "0123")
OPERATIONS = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip")
_PATHS = {
    "0000": ("op_0", "op_1", "op_2", "op_3"),
    "0001": ("op_1", "op_2", "op_0 op_3"),
    "0011": ("op_1", "op_0 op_2", "op_0 op_3"),
    "0012": ("op_0 op_2", "op_1 op_3"),
    "0013": ("op_1", "op_0 op_2 op_3"),
    "0111": ("op_0 op_1", "op_0 op_2", "op_0 op_3"),
    "0112": ("op_0 op_2", "op_0 op_1 op_3"),
    "0122": ("op_0 op_1 op_2", "op_0 op_1 op_3"),
    "0123": ("op_0 op_1 op_2 op_3",),
}
"""For each structure the nodes on the path to each leaf; a path of ``skip`` only would give the raw input."""


@final
class NASBenchGraph(Benchmark):
    """All 26,206 graph neural networks of NAS-Bench-Graph on one of four citation graphs.

    Four computing nodes, each with one input and one of nine operations; ``link`` tells the input of each (``0123``:
    0 is the raw input, 1 the first computing node, ...), and nodes that no other node reads feed the output. Accuracies
    (``valid_perf``, ``test_perf``) are fractions, means of three seeds; the source gives no unit for ``latency``
    (its magnitude fits seconds). Isomorphic architectures are kept once: the symmetries and constraints of the space,
    found from the published keys, decide in which form.

    **Departures from the paper**: four of its nine data sets.

    Args:
        folder: of the imported tables.
        dataset: ``arxiv``, ``citeseer``, ``cora`` or ``pubmed``.
    """

    paper = Paper(
        authors="Qin, Yijian and Zhang, Ziwei and Wang, Xin and Zhang, Zeyang and Zhu, Wenwu",
        title="NAS-Bench-Graph: Benchmarking Graph Neural Architecture Search",
        year=2022,
        venue="Advances in Neural Information Processing Systems",
        arxiv="2206.09166",
    )

    def __init__(self, folder: Path | None = None, *, dataset: str = "cora") -> None:
        if dataset not in DATASETS:
            raise unknown("data set of nasbench_graph", dataset, DATASETS)
        super().__init__(folder)
        self.dataset = dataset

    @classmethod
    def variants(cls) -> list[Benchmark]:
        return [cls(dataset=dataset) for dataset in DATASETS]

    @property
    def _ours(self) -> str:
        return f"nasbench_graph_{self.dataset}.parquet"

    @property
    def _published(self) -> str:
        return f"{self.dataset}.bench"

    @property
    def how_to_get(self) -> str:
        return (
            f"It is made from {self._ours}, or from {self._published} in the folder light of the public GitHub "
            "repository THUMNLab/NAS-Bench-Graph."
        )

    @cached_property
    def space(self) -> ChoiceSpace:
        choices = [Choice("link", LINKS, "categorical")]
        choices += [Choice(f"op_{i}", OPERATIONS, "categorical") for i in range(4)]
        rules = [
            f"link != {link!r} or " + " or ".join(f"{op} != 'skip'" for op in path.split())
            for link, paths in _PATHS.items()
            for path in paths
        ]
        sources = ("input", "op_0", "op_1", "op_2")
        nodes = [
            Node(f"op_{i}", (f"op_{i}",), tuple(sources[int(link[i])] for link in LINKS), "link", identity=("skip",))
            for i in range(4)
        ]
        wiring = Wiring(tuple(nodes))
        return ChoiceSpace(choices, rules, [Isomorphic(wiring)], name="nasbench_graph", wiring=wiring)

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        where = f"on {self.dataset}, a fraction, mean of three seeds"
        found = (
            Metric("valid_perf", "1", "max", f"validation accuracy {where}"),
            Metric("test_perf", "1", "max", f"test accuracy {where}"),
            Metric("latency", "s", "min", "time of inference; the source gives no unit, the magnitude fits seconds"),
            Metric("params_m", "millions", "min", "parameters"),
        )
        return {m.name: m for m in found}

    def read(self, sources: Sources) -> Contents | None:
        if self._ours in sources:
            frame, where = sources.parquet(self._ours), sources.where(self._ours)
            rows = rows_of_keys(frame_numbers(frame, "hash", where).astype(np.int64), where)
            return Contents(rows, {name: frame_numbers(frame, name, where) for name in self.metrics}, self._ours)
        if self._published in sources:
            return self._read_published(sources)
        return None

    def _read_published(self, sources: Sources) -> Contents:
        where = sources.where(self._published)
        theirs = {"valid_perf": "valid_perf", "test_perf": "perf", "latency": "latency", "params_m": "para"}
        data = read_plain_pickle(sources.bytes(self._published), where)
        try:
            rows = rows_of_keys(np.array([int(key) for key in data], dtype=np.int64), where)
            columns = {ours: np.array([float(entry[name]) for entry in data.values()]) for ours, name in theirs.items()}
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidData(f"{where} is not of the published form ({error!r}); fetch it anew") from error
        return Contents(rows, columns, self._published)


def rows_of_keys(keys: NDArray[np.int64], where: str) -> NDArray[Any]:
    """Rows of the benchmark's own keys ``(n,)``: the digits are the structure and the four operations.

    Raises:
        InvalidData: for a key that no architecture has.
    """
    digits = np.column_stack([keys // 10**k % 10 for k in (4, 3, 2, 1, 0)])
    wrong = (keys < 0) | (keys >= 10**5) | (digits >= 9).any(axis=1)
    if wrong.any():
        raise InvalidData(f"{where}: {keys[wrong][0]} is no key of an architecture; fetch the file anew")
    return digits
