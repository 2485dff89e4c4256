"""NAS-Bench-Macro: chains of eight MobileNetV2 blocks on CIFAR-10."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import final

import numpy as np

from archsmith.benchmark._sources import Sources, frame_numbers
from archsmith.benchmark.base import Benchmark, Contents
from archsmith.errors import InvalidData
from archsmith.files import parsed_json
from archsmith.method import Paper
from archsmith.metric import Metric
from archsmith.space import Choice, ChoiceSpace, Node, Wiring

BLOCKS = ("identity", "mb_k3_e3", "mb_k5_e6")
LAYERS = 8
_EXTRACT, _PUBLISHED = "nasbench_macro.parquet", "nas-bench-macro_cifar10.json"


@final
class NASBenchMacro(Benchmark):
    """All 6,561 networks of NAS-Bench-Macro: eight layers of three blocks each, on CIFAR-10.

    ``mean_acc`` is the mean *test* accuracy of three trainings (percent): the source has no validation accuracy.
    ``params`` and ``flops`` are counts. A layer is an inverted residual (kernel 3 and expansion 3, or kernel 5 and
    expansion 6) or the identity, which in the first layer of each of the three stages is a 1x1 convolution.

    **Departures from the paper**: none.
    """

    paper = Paper(
        authors="Su, Xiu and Huang, Tao and Li, Yanxi and You, Shan and Wang, Fei and Qian, Chen and Zhang, Changshui "
        "and Xu, Chang",
        title="Prioritized Architecture Sampling with Monto-Carlo Tree Search",
        year=2021,
        venue="Conference on Computer Vision and Pattern Recognition",
        arxiv="2103.11922",
    )

    @property
    def how_to_get(self) -> str:
        return (
            f"It is made from {_EXTRACT}, or from {_PUBLISHED} in the folder data of the public GitHub repository "
            "xiusu/NAS-Bench-Macro."
        )

    @cached_property
    def space(self) -> ChoiceSpace:
        names = [f"choice_{i}" for i in range(LAYERS)]
        nodes = [
            Node(name, (name,), (previous,), identity=("identity",))
            for previous, name in zip(["input", *names], names, strict=False)
        ]
        choices = [Choice(name, BLOCKS, "categorical") for name in names]
        return ChoiceSpace(choices, name="nasbench_macro", wiring=Wiring(tuple(nodes)))

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        found = [Metric("mean_acc", "%", "max", "mean CIFAR-10 test accuracy of three trainings")]
        found += [Metric(f"test_acc_{i}", "%", "max", "CIFAR-10 test accuracy of one training") for i in range(3)]
        found += [
            Metric("std_acc", "%", "min", "population standard deviation of the three test accuracies"),
            Metric("params", "1", "min", "parameters"),
            Metric("flops", "1", "min", "multiply-adds of one image"),
        ]
        return {m.name: m for m in found}

    def read(self, sources: Sources) -> Contents | None:
        if _EXTRACT in sources:
            frame, where = sources.parquet(_EXTRACT), sources.where(_EXTRACT)
            rows = np.column_stack([frame_numbers(frame, name, where) for name in self.space.names]).astype(np.int16)
            return Contents(rows, {name: frame_numbers(frame, name, where) for name in self.metrics}, _EXTRACT)
        if _PUBLISHED in sources:
            return self._read_published(sources)
        return None

    def _read_published(self, sources: Sources) -> Contents:
        where = sources.where(_PUBLISHED)
        try:
            data = parsed_json(sources.bytes(_PUBLISHED))
            rows = np.array([[int(digit) for digit in key] for key in data], dtype=np.int16)
            accuracies = np.array([entry["test_acc"] for entry in data.values()], dtype=np.float64)
            rest = {name: np.array([float(entry[name]) for entry in data.values()]) for name in ("params", "flops")}
            mean = np.array([float(entry["mean_acc"]) for entry in data.values()])
            std = np.array([float(entry["std"]) for entry in data.values()])
            if rows.shape[1:] != (LAYERS,) or accuracies.shape[1:] != (3,):
                raise ValueError(f"{rows.shape[1:]} layers and {accuracies.shape[1:]} accuracies")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise InvalidData(f"{where} is not of the published form ({error!r}); fetch it anew") from error
        columns = {f"test_acc_{i}": accuracies[:, i] for i in range(3)} | {"mean_acc": mean, "std_acc": std}
        return Contents(rows, columns | rest, _PUBLISHED)
