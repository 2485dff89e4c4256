"""Once-for-All's MobileNetV3 on ImageNet: a surrogate fitted on real measurements."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from archsmith.benchmark import _ofa
from archsmith.benchmark._sources import Sources, frame_numbers, numbers
from archsmith.benchmark.base import Benchmark, Contents
from archsmith.errors import InvalidData
from archsmith.method import Paper
from archsmith.metric import Metric, check_known
from archsmith.space import Choice, ChoiceSpace, Node, Wiring
from archsmith.space.forest import AnyRows, Rows
from archsmith.value import Source

_EXTRACT = "ofa_mbv3_imagenet.parquet"
_RUNS = {"linasnsga2": "mbnv3w10_linasnsga2_acc_macs.csv", "evonsga2": "mbnv3w10_evonsga2_acc_macs.csv"}
_FEWEST_NETWORKS = 50


@final
class OFAMobileNetV3(Benchmark):
    """Surrogate of Once-for-All MobileNetV3 on ImageNet: top-1 accuracy predicted from 1,045 measurements.

    Five stages of 2 to 4 blocks, each with kernel 3, 5 or 7 and expansion 3, 4 or 6: 2.2e19 networks at width 1.0
    and 224 pixels. ``top1`` (percent) is *predicted* by a Gaussian process fitted when the table is imported, for
    measured networks too; ``params`` and ``macs`` are computed exactly. :attr:`rows` and :attr:`columns` are the
    measured networks, :attr:`facts` the cross-validated errors. The measured networks lie mostly near the Pareto front.

    **Departures from the paper**: inherited weights without further training; one resolution and one width; the
    measurements were made by the searches of DyNAS-T.
    """

    paper = Paper(
        authors="Cai, Han and Gan, Chuang and Wang, Tianzhe and Zhang, Zhekai and Han, Song",
        title="Once-for-All: Train One Network and Specialize it for Efficient Deployment",
        year=2020,
        venue="International Conference on Learning Representations",
        arxiv="1908.09791",
    )
    exhaustive = False

    @property
    def how_to_get(self) -> str:
        return (
            f"It is made from {_EXTRACT}, or from {' and '.join(_RUNS.values())} in the folder notebooks/data of the "
            "public GitHub repository IntelLabs/DyNAS-T."
        )

    @cached_property
    def space(self) -> ChoiceSpace:
        choices: list[Choice] = []
        nodes: list[Node] = []
        for stage in range(_ofa.STAGES):
            choices.append(Choice(f"d_{stage}", _ofa.DEPTHS))
            for j in range(_ofa.MOST_BLOCKS):
                block = stage * _ofa.MOST_BLOCKS + j
                deep = tuple(d for d in _ofa.DEPTHS if d > j)
                when = None if len(deep) == len(_ofa.DEPTHS) else (f"d_{stage}", deep)
                choices += [
                    Choice(f"ks_{block}", _ofa.KERNELS, when=when),
                    Choice(f"e_{block}", _ofa.EXPANSIONS, when=when),
                ]
                previous = nodes[-1].name if nodes else "input"
                nodes.append(Node(f"block_{block}", (f"ks_{block}", f"e_{block}"), (previous,)))
        return ChoiceSpace(choices, name="ofa_mobilenet_v3", wiring=Wiring(tuple(nodes)))

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        surrogate = "predicted ImageNet top-1; 10-fold cross-validation: error 0.06 points (rms), Kendall tau 0.97"
        found = (
            Metric("top1", "%", "max", surrogate),
            Metric("params", "1", "min", "parameters"),
            Metric("macs", "1", "min", "multiply-adds of one image of 224 pixels"),
        )
        return {m.name: m for m in found}

    def source(self, metric: str) -> Source:
        return "predicted" if metric == "top1" else "computed"

    def values(self, rows: AnyRows, metrics: Sequence[str]) -> NDArray[np.float64]:
        check_known(metrics, self.metrics)
        blocks = self._blocks(self.space.canonical_rows(rows))
        found = {}
        if "top1" in metrics:
            found["top1"] = self._model.predict(blocks)
        if "params" in metrics or "macs" in metrics:
            found["params"], found["macs"] = blocks.counts()
        return np.column_stack([found[name] for name in metrics])

    @cached_property
    def _model(self) -> _ofa.Surrogate:
        return _ofa.Surrogate(self._blocks(self.rows), self.arrays["weights"], float(self.facts["mean"]))

    def _blocks(self, rows: AnyRows) -> _ofa.Blocks:
        column = {name: j for j, name in enumerate(self.space.names)}
        kernels, expansions = ([column[f"{kind}_{b}"] for b in range(_ofa.BLOCKS)] for kind in ("ks", "e"))
        return _ofa.Blocks(rows[:, kernels], rows[:, expansions], self.space.active(rows)[:, kernels])

    # Import ------------------------------------------------------------------------------------------------------

    def read(self, sources: Sources) -> Contents | None:
        if _EXTRACT in sources:
            frame, origin = sources.parquet(_EXTRACT), _EXTRACT
            where = sources.where(_EXTRACT)
            values = np.column_stack([frame_numbers(frame, name, where) for name in self.space.names])
            measured = {name: frame_numbers(frame, name, where) for name in self.metrics}
            runs, order = frame["run"].to_numpy(str), frame_numbers(frame, "order", where)
        elif any(file in sources for file in _RUNS.values()):
            values, measured, runs, order = self._read_published(sources)
            origin = "DyNAS-T: " + ", ".join(_RUNS.values())
        else:
            return None
        rows = self._rows_of(values, str(sources.place))
        # A run evaluates some networks more than once; always with equal results.
        _, first = np.unique(rows, axis=0, return_index=True)
        rows, runs, order = rows[first], runs[first], order[first]
        columns = {name: column[first] for name, column in measured.items()}
        return self._fitted(rows, columns, runs, order, origin, str(sources.place))

    def _read_published(
        self, sources: Sources
    ) -> tuple[NDArray[Any], dict[str, NDArray[np.float64]], NDArray[Any], NDArray[np.float64]]:
        if missing := [file for file in _RUNS.values() if file not in sources]:
            raise InvalidData(f"{sources.place} has no {', '.join(missing)}. {self.how_to_get}")
        theirs = {"top1": "Top-1 Acc (%)", "params": "Model Parameters", "macs": "MACs"}
        values: list[list[int]] = []
        columns: dict[str, list[NDArray[np.float64]]] = {name: [] for name in theirs}
        runs: list[str] = []
        order: list[int] = []
        for run, file in _RUNS.items():
            lines, where = sources.csv(file), sources.where(file)
            values += [_subnet(line.get("Sub-network"), self.space.names, where) for line in lines]
            for name, column in theirs.items():
                columns[name].append(numbers(lines, column, where))
            runs += [run] * len(lines)
            order += range(1, len(lines) + 1)
        joined = {name: np.concatenate(parts) for name, parts in columns.items()}
        return np.array(values), joined, np.array(runs), np.array(order, dtype=np.float64)

    def _rows_of(self, values: NDArray[Any], where: str) -> Rows:
        rows = np.full(values.shape, -1, dtype=np.int16)
        for j, choice in enumerate(self.space.choices):
            for i, option in enumerate(choice.options):
                rows[values[:, j] == option, j] = i
        if (rows < 0).any():
            raise InvalidData(f"{where}: {values[rows < 0][0]} is no kernel, expansion or depth; fetch the files anew")
        return self.space.canonical_rows(rows)

    def _fitted(
        self,
        rows: Rows,
        columns: dict[str, NDArray[np.float64]],
        runs: NDArray[Any],
        order: NDArray[np.float64],
        origin: str,
        where: str,
    ) -> Contents:
        blocks = self._blocks(rows)
        counted = dict(zip(("params", "macs"), blocks.counts(), strict=True))
        for name, exact in counted.items():
            if len(wrong := np.flatnonzero(exact != columns[name])):
                i = wrong[0]
                raise InvalidData(
                    f"{where}: a network with {exact[i]:.0f} {name} is said to have {columns[name][i]:.0f}"
                )
        if len(rows) < _FEWEST_NETWORKS or not np.isfinite(columns["top1"]).all():
            raise InvalidData(f"{where}: {len(rows)} measured networks are too few or incomplete; fetch the files anew")
        model = _ofa.Surrogate.fit(blocks, columns["top1"])
        facts = _ofa.validated(blocks, columns["top1"], runs, order) | {"mean": model.mean, "measured": len(rows)}
        return Contents(rows, columns, origin, {"weights": model.weights}, facts)


def _subnet(text: str | None, names: Sequence[str], where: str) -> list[int]:
    """Values by choice of ``{'ks': [...], 'e': [...], 'd': [...], 'r': [224]}``."""
    try:
        found = ast.literal_eval(text or "")
        values = {f"{kind}_{i}": int(v) for kind in ("ks", "e", "d") for i, v in enumerate(found[kind])}
        return [values[name] for name in names]
    except (ValueError, SyntaxError, KeyError, TypeError) as error:
        raise InvalidData(f"{where}: {text!r:.80} is no sub-network ({error!r}); fetch the file anew") from None
