"""Every predictor keeps the contract; what each paper claims, and what a bad option says."""

import numpy as np
import pytest

from archsmith import method
from archsmith.errors import InvalidData, InvalidOption
from archsmith.predictor.gaussian_process import GaussianProcess
from archsmith.predictor.random_forest import RandomForest
from archsmith.predictor.ridge import Ridge
from archsmith.testing.predictors import PredictorConformance, PredictorCoreConformance, problem

# As in everyday use, but with fewer trees: the suite fits each of them a good two dozen times.
OPTIONS = {
    "averaged": {"members": ["gaussian_process", "ridge"]},
    "extra_trees": {"trees": 30},
    "gradient_boosting": {"runs": 2, "trees": 40},
    "random_forest": {"trees": 30},
}

QUICK = {
    "mlp_ensemble": {"members": 3, "steps": 40},
    "pretrained": {"members": 2, "steps": 60},
    "low_density_separation": {"members": 3, "steps": 40},
}

for _name in method.names("predictor"):
    _title = f"Test{_name.title().replace('_', '')}"
    _mine = {"name": _name, "options": OPTIONS.get(_name, {})}
    globals()[_title] = type(_title, (PredictorCoreConformance,), _mine)
    _full = type(f"{_title}InFull", (PredictorConformance,), _mine)
    globals()[f"{_title}InFull"] = pytest.mark.full(method.load("predictor", _name).__module__)(_full)
del _full  # pytest would collect the last one twice


def test_ridge_finds_a_linear_law():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(60, 5)), np.array([3.0, -2, 0, 1, 0.5])
    predictor = Ridge()
    predictor.fit(x, 7 + x @ weights + rng.normal(scale=0.01, size=60))
    mean, std = predictor.predict(np.eye(5))
    np.testing.assert_allclose(mean, 7 + weights, atol=0.02)
    assert std.max() < 0.05


def test_ridge_agrees_with_the_posterior_written_out():
    """The weights and the spread by plain matrix algebra, at the penalty that it chose."""
    x, y = problem(25)
    predictor = Ridge()
    predictor.fit(x, y)
    centred, target = x - x.mean(axis=0), (y - y.mean()) / y.std()
    covariance = np.linalg.inv(centred.T @ centred + predictor._penalty * np.eye(x.shape[1]))
    wanted, _ = problem(6, seed=1)
    z = wanted - x.mean(axis=0)
    mean, std = predictor.predict(wanted)
    np.testing.assert_allclose(mean, y.mean() + y.std() * (z @ covariance @ centred.T @ target), rtol=1e-8)
    variance = predictor._noise * (np.einsum("ij,jk,ik->i", z, covariance, z) + 1 / 25 + 1)
    np.testing.assert_allclose(std, y.std() * np.sqrt(variance), rtol=1e-6)


def test_ridge_calls_noise_noise():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 30)), rng.normal(size=40)
    predictor = Ridge()
    predictor.fit(x, y)
    assert predictor.predict(x)[0].std() < 0.3 * y.std()


@pytest.mark.parametrize("make", [Ridge, GaussianProcess])
def test_spread_grows_away_from_the_data_and_covers_it(make):
    x, y = problem(60)
    predictor = make()
    predictor.fit(x, y)
    wanted, truth = problem(200, seed=1)
    mean, std = predictor.predict(wanted)
    assert std.mean() > predictor.predict(x)[1].mean()
    assert np.mean(np.abs(mean - truth) < 2 * std) > 0.8


def test_gaussian_process_learns_what_no_line_can():
    """A product of choices: parity of two columns."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (80, 4))
    x = np.concatenate([bits, 1 - bits], axis=1).astype(float)
    y = (bits[:, 0] ^ bits[:, 1]).astype(float)
    errors = {}
    for make in (Ridge, GaussianProcess):
        predictor = make()
        predictor.fit(x[:50], y[:50])
        errors[make] = np.mean((predictor.predict(x[50:])[0] - y[50:]) ** 2)
    assert errors[GaussianProcess] < 0.05 < 0.15 < errors[Ridge]


def test_gaussian_process_learns_from_the_latest_only():
    x, y = problem(50)
    few, all_at_once = GaussianProcess(most=20), GaussianProcess()
    few.fit(x, y)
    all_at_once.fit(x[-20:], y[-20:])
    np.testing.assert_array_equal(few.predict(x), all_at_once.predict(x))


@pytest.mark.parametrize("wrong", [lambda: GaussianProcess(most=1), lambda: RandomForest(trees=1)])
def test_options_are_checked(wrong):
    with pytest.raises(InvalidOption, match="1"):
        wrong()


@pytest.mark.parametrize("shape", [(0,), (3, 1)])
def test_nothing_to_learn_from_is_refused(shape):
    with pytest.raises(InvalidData, match="n >= 1"):
        Ridge().fit(np.zeros((0, 2)), np.zeros(shape))
