"""Claims of tree search, LaNAS and NAS-BOWL on the published table, where it lies in ARCHSMITH_DATA."""

import os
from pathlib import Path

import numpy as np
import pytest

from archsmith import method
from archsmith.architecture import Proposal
from archsmith.encoding.weisfeiler_lehman import WeisfeilerLehman
from archsmith.metric import Objective
from archsmith.predictor import mid_ranks
from archsmith.strategy.bayesian.nas_bowl import NasBowl

DATA = Path(os.environ.get("ARCHSMITH_DATA") or Path(__file__).parents[3] / "shared" / "data")
if not (DATA / "nasbench201_cifar10.parquet").exists():
    pytest.skip("needs nasbench201_cifar10.parquet in ARCHSMITH_DATA", allow_module_level=True)
pytest.importorskip("pandas")
from archsmith.benchmark import import_benchmark, open_benchmark  # noqa: E402 - after the checks

ACCURACY = (Objective("val_acc", "max"),)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    import_benchmark("nasbench201", DATA, folder)
    return open_benchmark("nasbench201", folder)


def until_near_best(table, name, seed, budget):
    """Evaluations until one lies within 0.1 point of the best cell; ``budget`` where none does."""
    near = np.nanmax(table.columns["val_acc"]) - 0.1
    strategy = method.make("strategy", name, table.space, ACCURACY, (), rng=np.random.default_rng(seed))
    for i in range(1, budget):
        [asked] = strategy.ask(1)
        told = table.evaluate(asked, ["val_acc"])
        strategy.tell([told])
        if told["val_acc"] >= near:
            return i
    return budget


def random_median(table):
    """Evaluations after which random search without repetition has met such a cell with probability one half."""
    accuracy = np.asarray(table.columns["val_acc"])
    near, n = int((accuracy >= np.nanmax(accuracy) - 0.1).sum()), len(accuracy)
    missed = np.cumprod([(n - near - i) / (n - i) for i in range(n - near)])
    return int(np.argmax(missed <= 0.5)) + 1


@pytest.mark.slow
def test_lanas_needs_five_times_fewer_evaluations_than_random_search(table):
    needed = [until_near_best(table, "lanas", seed, 600) for seed in range(5)]
    assert 5 * np.median(needed) <= random_median(table)


def test_top_motifs_predict_differences_of_unseen_cells(table):
    rng = np.random.default_rng(0)
    rows = np.asarray(table.rows)[rng.permutation(len(table.rows))[:3000]]
    strategy = NasBowl(table.space, ACCURACY, rng=rng)
    told = [table.evaluate(Proposal(a), ["val_acc"]) for a in table.space.architectures(rows[:150])]
    strategy.tell(told)
    motifs = strategy.motifs(10)
    unseen = rows[150:]
    quality = mid_ranks(np.asarray(table.columns["val_acc"])[table.find(unseen)])
    encoding = WeisfeilerLehman(table.space, written=True)
    x = encoding.encode(unseen)
    has = {motif.name: x[:, encoding.names.index(motif.name)] > 0 for motif in motifs}
    differences = [quality[has[m.name]].mean() - quality[~has[m.name]].mean() for m in motifs]
    effects = [m.effect for m in motifs]
    assert np.corrcoef(mid_ranks(np.array(effects)), mid_ranks(np.array(differences)))[0, 1] > 0.6
    assert min(differences[:3]) > 0 > max(differences[-3:])
