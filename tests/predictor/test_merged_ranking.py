"""Merged rankings: signs and weights from few labels, and pools whose quotas undo a bias."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsmith.errors import InvalidData, InvalidOption
from archsmith.predictor.merged_ranking import SCORES, MergedRanking


def biased(n=400, seed=0):
    """True qualities, three noisy rankings that all favour the second group, and the groups."""
    rng = np.random.default_rng(seed)
    quality, group = rng.normal(size=n), rng.integers(0, 2, n)
    seen = quality + 2.0 * group
    return quality, np.stack([seen + 0.3 * rng.normal(size=n) for _ in range(3)], axis=1), group


@pytest.mark.parametrize("score", ["borda", "harmonic"])
def test_quotas_raise_the_true_quality_under_bias(score):
    quality, x, group = biased()
    merged = MergedRanking(score=score)
    free, fair = merged.select(x, 40), merged.select(x, 40, groups=group)
    assert quality[fair].mean() > quality[free].mean() + 0.2
    assert abs(group[fair].mean() - group.mean()) < 0.02 < 0.3 < abs(group[free].mean() - group.mean())


def test_signs_and_weights_come_from_labels():
    """One ranking the right way round, one upside down, three of noise; twelve labels."""
    rng = np.random.default_rng(0)
    quality = rng.normal(size=300)
    x = np.stack([quality**3, 1 - 5 * quality, *rng.normal(size=(3, 300))], axis=1)
    merged = MergedRanking()
    merged.fit(x[:12], quality[:12])
    mean, _ = merged.predict(x[12:])
    assert np.corrcoef(mean, quality[12:])[0, 1] > 0.85
    assert quality[12:][merged.select(x[12:], 10)].min() > np.quantile(quality, 0.85)


def test_the_best_of_each_ranking_goes_before_a_second():
    """Two rankings that disagree: Chamberlin and Courant's committee holds a favourite of each."""
    x = np.array([[9.0, 0.0], [8.0, 1.0], [7.0, 2.0], [0.0, 9.0], [1.0, 8.0], [2.0, 7.0]])
    assert set(MergedRanking(score="chamberlin_courant").select(x, 2)) == {0, 3}


@given(st.integers(0, 30), st.integers(0, 99), st.sampled_from(SCORES))
def test_a_pool_has_its_size_and_keeps_its_quotas(k, seed, score):
    rng = np.random.default_rng(seed)
    x, groups, quota = rng.integers(0, 6, (30, 2)).astype(float), rng.integers(0, 3, 30), rng.random(3)
    groups[:3] = [0, 1, 2]
    picked = MergedRanking(score=score).select(x, k, groups=groups, quota=quota)
    assert len(set(picked.tolist())) == k
    counts, sizes = np.bincount(groups[picked], minlength=3), np.bincount(groups)
    fits = (counts < sizes).all()  # no group is used up, so that none had to take more than its share
    assert not fits or (np.abs(counts - k * quota / quota.sum()) < 1 + 1e-9).all()


def test_harmonic_gains_are_what_the_worth_grows_by():
    """The incremental formula against the definition."""

    def worth(places):
        return (-np.sort(-places, axis=0) / np.arange(1, len(places) + 1)[:, None]).sum()

    x = np.random.default_rng(3).random((12, 3))
    places = (np.argsort(np.argsort(x, axis=0), axis=0) + 0.5) / 12
    chosen: list[int] = []
    for _ in range(5):
        rest = [i for i in range(12) if i not in chosen]
        chosen.append(max(rest, key=lambda i: worth(places[[*chosen, i]])))
    assert MergedRanking(score="harmonic").select(x, 5).tolist() == chosen


def test_what_does_not_fit_is_refused():
    x = np.zeros((4, 2))
    with pytest.raises(InvalidOption, match="score"):
        MergedRanking(score="veto")
    with pytest.raises(InvalidOption, match="k=5"):
        MergedRanking().select(x, 5)
    with pytest.raises(InvalidOption, match="quota"):
        MergedRanking().select(x, 2, groups=np.arange(4), quota=np.ones(3))
    with pytest.raises(InvalidData, match="group"):
        MergedRanking().select(x, 2, groups=np.arange(3))
    fitted = MergedRanking()
    fitted.fit(x, np.arange(4.0))
    with pytest.raises(InvalidData, match="2 rankings"):
        fitted.select(x[:, :1], 1)
