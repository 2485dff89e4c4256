"""Posteriors: draws have the moments that they claim, joint where the model knows them, and chances are shares."""

import numpy as np
import pytest

from archsmith import method
from archsmith.predictor import Bound, Posterior
from archsmith.predictor.choice_gaussian_process import ChoiceGaussianProcess, posterior_together
from archsmith.strategy.kit.motif_process import KERNELS, MotifProcess
from archsmith.testing.predictors import problem

JOINT = ["choice_gaussian_process", "gaussian_process", "motif_gaussian_process"]
TWO = Posterior(np.array([[0.0, 5.0], [1.0, -5.0]]), np.array([[1.0, 2.0], [0.5, 1.0]]))


def covariances(posterior):
    draws = posterior.sample(20_000, np.random.default_rng(0))
    assert draws.shape == (20_000, *posterior.mean.shape)
    return draws.mean(axis=0), [np.cov(draws[:, :, j].T) for j in range(draws.shape[2])]


def test_independent_draws_have_the_mean_and_the_deviation():
    mean, found = covariances(TWO)
    np.testing.assert_allclose(mean, TWO.mean, atol=0.05)
    for j in range(2):
        np.testing.assert_allclose(found[j], np.diag(TWO.std[:, j] ** 2), atol=0.1)


@pytest.mark.parametrize("name", JOINT)
def test_joint_draws_hang_together_as_the_model_says(name):
    x, y = problem(30)
    new, _ = problem(6, seed=1)
    predictor = method.make("predictor", name)
    predictor.fit(x, y)
    new[1] = new[0]
    posterior = predictor.posterior(new)
    known = predictor.covariance(new)
    np.testing.assert_allclose(np.sqrt(np.diag(known)), posterior.std[:, 0], rtol=2e-3, atol=1e-4 * y.std())
    mean, [found] = covariances(posterior)
    np.testing.assert_allclose(mean, posterior.mean, atol=0.05 * y.std())
    np.testing.assert_allclose(found, known, atol=0.05 * known.max())
    draws = posterior.sample(50, np.random.default_rng(1))
    np.testing.assert_allclose(draws[:, 0], draws[:, 1], atol=1e-3 * y.std())  # equal inputs have equal values


@pytest.mark.parametrize("kernel", KERNELS)
def test_targets_of_one_process_have_their_own_covariances(kernel):
    rng = np.random.default_rng(0)
    x, new = rng.integers(0, 3, (25, 6)).astype(float), rng.integers(0, 3, (5, 6)).astype(float)
    process = MotifProcess(x, kernel)
    posterior = process.posterior(new, [process.fit(x[:, 0] + rng.normal(size=25)), process.fit(100 * x[:, 1] ** 2)])
    for known, std in zip(posterior.covariance(), posterior.std.T, strict=True):
        np.testing.assert_allclose(np.sqrt(np.diag(known)), std, rtol=1e-3)


def test_processes_of_one_frame_are_sampled_together():
    x, y = problem(20)
    processes = [ChoiceGaussianProcess(), ChoiceGaussianProcess()]
    for process, target in zip(processes, (y, -3 * y), strict=True):
        process.fit(x, target)
    posterior = posterior_together(processes, x[:4])
    _, found = covariances(posterior)
    for known, drawn in zip(posterior.covariance(), found, strict=True):
        np.testing.assert_allclose(drawn, known, atol=0.05 * known.max())


def test_a_chance_is_the_share_of_draws_that_keep_all_bounds():
    bounds = [Bound(0.5, "<="), Bound(-4.0, ">=")]
    draws = TWO.sample(50_000, np.random.default_rng(0))
    kept = (draws[..., 0] <= 0.5) & (draws[..., 1] >= -4.0)
    np.testing.assert_allclose(TWO.chance(bounds), kept.mean(axis=0), atol=0.01)
    np.testing.assert_allclose(np.log(TWO.chance(bounds)), TWO.log_chance(bounds))


def test_what_never_changed_keeps_its_bound_or_breaks_it():
    certain = Posterior(np.array([[3.0]]), np.zeros((1, 1)))
    assert certain.chance([Bound(3.1, "<=")]) == 1
    broken = certain.log_chance([Bound(1e300, ">=")])
    assert np.isfinite(broken).all()
    assert np.exp(broken) == 0


def test_values_are_put_side_by_side_and_taken_apart():
    joint = Posterior(np.zeros((2, 1)), np.ones((2, 1)), lambda: np.array([[[1.0, 0.9], [0.9, 1.0]]]))
    both = Posterior.together([TWO, joint])
    assert both.mean.shape == both.std.shape == (2, 3)
    assert both.covariance().shape == (3, 2, 2)
    last = both.columns(slice(2, 3))
    np.testing.assert_array_equal(last.covariance(), joint.covariance())
    assert Posterior.together([TWO, TWO]).covariance is None
    np.testing.assert_allclose(both.at(-2.0), both.mean - 2 * both.std)
