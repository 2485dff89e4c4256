"""Rank correlations are what they are called, and cross-validation lets nothing leak."""

import itertools
from typing import ClassVar

import numpy as np
import pytest

from archsmith.errors import InvalidData, InvalidOption
from archsmith.predictor import cross_validate, kendall_tau, spearman_rho
from archsmith.predictor.base import Predictor
from archsmith.predictor.ridge import Ridge


def test_kendall_counts_pairs_and_spearman_correlates_ranks():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=30), rng.normal(size=30)
    signs = [np.sign((a[i] - a[j]) * (b[i] - b[j])) for i, j in itertools.combinations(range(30), 2)]
    assert kendall_tau(a, b) == pytest.approx(np.mean(signs))
    ranks = [np.argsort(np.argsort(v)) for v in (a, b)]
    assert spearman_rho(a, b) == pytest.approx(np.corrcoef(*ranks)[0, 1])


@pytest.mark.parametrize("measure", [kendall_tau, spearman_rho])
def test_only_the_order_counts(measure):
    rng = np.random.default_rng(0)
    a = rng.normal(size=20)
    assert measure(a, np.exp(3 * a)) == pytest.approx(1)
    assert measure(a, -a) == pytest.approx(-1)
    assert measure(a, np.ones(20)) == 0
    for wrong in (a[:5], a[:, None], np.where(a > 0, a, np.nan)):
        with pytest.raises(InvalidData, match="ranks are compared"):
            measure(a, wrong)


def test_a_lawful_target_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    lawful = cross_validate(Ridge, x, x @ [1.0, 2.0, 0.5, -1.0], rng=rng)
    assert lawful.kendall_tau > 0.95
    assert lawful.spearman_rho > 0.95
    assert lawful.rmse < 0.1
    noise = cross_validate(Ridge, x, rng.normal(size=60), rng=rng)
    assert abs(noise.kendall_tau) < 0.3
    assert 0.85 <= noise.covered <= 1


class Witness(Predictor):
    """Remembers what it is shown."""

    seen: ClassVar[list] = []

    def fit(self, x, y):
        self.mine = (x.copy(), y.copy())

    def predict(self, x):
        self.seen.append((self.mine, x.copy()))
        return x[:, 0], np.ones(len(x))


def test_no_fold_is_predicted_by_a_model_that_saw_it():
    Witness.seen = []
    x = np.arange(22.0)[:, None]
    found = cross_validate(Witness, x, 2 * x[:, 0], folds=4, rng=np.random.default_rng(0))
    assert len(Witness.seen) == 4
    asked = np.concatenate([x[:, 0] for _, x in Witness.seen])
    assert sorted(asked) == list(range(22))
    for (learnt, values), left_out in Witness.seen:
        assert not set(learnt[:, 0]) & set(left_out[:, 0])
        np.testing.assert_array_equal(values, 2 * learnt[:, 0])
        assert len(learnt) + len(left_out) == 22
    np.testing.assert_array_equal(found.mean, x[:, 0])
    assert np.bincount(found.fold).tolist() == [6, 6, 5, 5]
    assert found.kendall_tau == pytest.approx(1)


def test_gaps_reach_the_predictor_as_they_are():
    """Nothing is filled in before the folds are cut: what replaces a gap is learnt from the other folds alone."""
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(size=40), np.where(np.arange(40) % 2, np.nan, 1.0)], axis=1)
    Witness.seen = []
    cross_validate(Witness, x, x[:, 0], rng=rng)
    gaps = [np.isnan(learnt).sum() + np.isnan(left_out).sum() for (learnt, _), left_out in Witness.seen]
    assert gaps == [20] * 5
    assert cross_validate(Ridge, x, x[:, 0], rng=rng).kendall_tau > 0.9


@pytest.mark.parametrize(("n", "folds", "error"), [(3, 2, InvalidData), (8, 1, InvalidOption), (8, 5, InvalidOption)])
def test_what_cannot_be_folded_is_refused(n, folds, error):
    with pytest.raises(error, match="pairs"):
        cross_validate(Ridge, np.ones((n, 1)), np.arange(float(n)), folds=folds, rng=np.random.default_rng(0))
