"""What pre-training, unlabelled cells and quotas bring on a public table."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata

from archsmith.pareto import hypervolume
from archsmith.predictor._data import normal_scores
from archsmith.predictor.low_density_separation import LowDensitySeparation
from archsmith.predictor.merged_ranking import MergedRanking
from archsmith.predictor.pretrained import Pretrained

FILE = Path(os.environ.get("ARCHSMITH_DATA") or Path(__file__).parents[3] / "shared" / "data")
FILE /= "nasbench201_cifar10.parquet"
if not FILE.exists():
    pytest.skip("needs nasbench201_cifar10.parquet in ARCHSMITH_DATA", allow_module_level=True)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    """The cells without dead operations and with all proxies."""
    pytest.importorskip("torch")
    frame = pytest.importorskip("pandas").read_parquet(FILE)
    return frame[frame.has_zc & frame.filter(like="zc_").notna().all(axis=1)]


def one_hot(frame):
    operations = frame.filter(regex="^op_").to_numpy()
    return (operations[:, :, None] == np.arange(5)).reshape(len(frame), -1).astype(float)


@pytest.mark.parametrize(("labels", "gain"), [(32, 0.06), (78, 0.03)])
def test_pretraining_on_free_values_raises_tau(table, labels, gain):
    x, y = one_hot(table), table.val_acc.to_numpy()
    sources = {n: (x, table[n].to_numpy()) for n in ("params_m", "flops_m", "edgegpu_latency_ms")}
    tau = {"cold": [], "warm": []}
    warm = Pretrained()
    warm.pretrain(sources)
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(len(y))
        known, rest = order[:labels], order[labels : labels + 3000]
        for name, predictor in (("cold", Pretrained()), ("warm", warm)):
            predictor.fit(x[known], y[known])
            tau[name].append(kendalltau(predictor.predict(x[rest])[0], y[rest])[0])
    assert np.mean(tau["warm"]) > np.mean(tau["cold"]) + gain


@pytest.mark.parametrize(("labels", "good"), [(20, 0.5), (50, 0.5), (50, 0.2)])
def test_unlabelled_cells_help_to_tell_good_from_bad(table, labels, good):
    """On the proxies, which cluster; area under the curve of the best ``good`` of all cells.

    With four good cells among twenty labels there is nothing to gain: 0.000 +- 0.016.
    """
    proxies = np.stack([normal_scores(table[c].to_numpy()) for c in table.filter(like="zc_")], axis=1)
    y = table.val_acc.to_numpy()
    areas = {"supervised": [], "transductive": []}
    for seed in range(12):
        order = np.random.default_rng(seed).permutation(len(y))
        known, rest = order[:labels], order[labels : labels + 3000]
        for name, found in areas.items():
            predictor = LowDensitySeparation(good=good)
            if name == "transductive":
                predictor.observe(proxies[order[labels:]])
            predictor.fit(proxies[known], y[known])
            found.append(area(predictor.predict(proxies[rest])[0], y[rest] >= np.quantile(y, 1 - good)))
    gains = np.subtract(areas["transductive"], areas["supervised"])
    assert gains.mean() > 0


def area(scores, good):
    ranks = rankdata(scores)[good]
    return (ranks.mean() - (len(ranks) + 1) / 2) / (~good).sum()


def test_quotas_by_size_give_a_better_front(table):
    """Proxies are biased to large networks: without quotas the pool holds hardly any other."""
    x, y, size = table.filter(like="zc_").to_numpy(), table.val_acc.to_numpy(), table.params_m.to_numpy()
    bins = np.searchsorted(np.quantile(size, [0.2, 0.4, 0.6, 0.8]), size)
    merged = MergedRanking()
    volumes = []
    for groups in (None, bins):
        picked = merged.select(x, 50, groups=groups)
        errors = np.stack([(100 - y[picked]) / 100, (size[picked] - size.min()) / np.ptp(size)], axis=1)
        volumes.append(hypervolume(errors, [1.1, 1.1]))
    assert volumes[1] > 1.2 * volumes[0]
