"""Public tables as evaluators: what the loop sees of them."""

import numpy as np
import pytest

from archsmith.architecture import Proposal
from archsmith.errors import EvaluationFailed, UnknownName
from archsmith.evaluator.kit.composite import Composite
from archsmith.evaluator.table import Table
from archsmith.testing.tables import MISSING, tiny_benchmark


@pytest.fixture
def benchmark(tmp_path):
    return tiny_benchmark(tmp_path)


def test_it_gives_the_table_s_values(benchmark):
    evaluator = Table(benchmark, ["latency_ms", "val_acc"])
    [architecture] = benchmark.space.architectures(benchmark.rows[7:8])
    found = Composite([evaluator], seed=0)(Proposal(architecture))
    assert found.ok
    assert [m.name for m in evaluator.metrics] == ["latency_ms", "val_acc"] == list(found.values)
    assert found["val_acc"] == benchmark.columns["val_acc"][7]
    assert {v.source for v in found.values.values()} == {"table"}


def test_a_missing_value_fails_with_its_reason(benchmark):
    [architecture] = benchmark.space.architectures(np.array([MISSING]))
    with pytest.raises(EvaluationFailed, match="latency_ms"):
        Table(benchmark, ["val_acc", "latency_ms"]).measure(Proposal(architecture), seed=0)
    assert Table(benchmark, ["val_acc"]).measure(Proposal(architecture), seed=0)


def test_fingerprints_tell_tables_and_metrics_apart(benchmark):
    one, other = Table(benchmark, ["val_acc"]), Table(benchmark, ["val_acc", "latency_ms"])
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint == Table(benchmark, ["val_acc"]).fingerprint
    with pytest.raises(UnknownName, match="val_acc"):
        Table(benchmark, ["val_ac"])
