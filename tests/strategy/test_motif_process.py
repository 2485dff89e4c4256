"""The process that NAS-BOWL predicts with is a Gaussian process: compared with the formulas of the book."""

import numpy as np
import pytest

from archsmith.strategy.kit.motif_process import KERNELS, NOISE_SHARES, Kernel, MotifProcess, best_kernel


def counts(n, d=6, seed=0):
    return np.random.default_rng(seed).integers(0, 3, (n, d)).astype(float)


def dense(kernel, known, a, b):
    """The kernel between ``a`` and ``b``, written down once more in a plain way."""
    centre = known.mean(axis=0)
    power = ((known - centre) ** 2).sum(axis=1).mean()
    distances = ((known[:, None] - known[None]) ** 2).sum(axis=2)
    length = kernel.reach * np.median(distances[np.triu_indices(len(known), k=1)])
    near = np.exp(-((a[:, None] - b[None]) ** 2).sum(axis=2) / length)
    return kernel.share * (a - centre) @ (b - centre).T / power + (1 - kernel.share) * near


@pytest.mark.parametrize("kernel", KERNELS)
def test_it_predicts_as_the_book_says(kernel):
    x, wanted, rng = counts(25), counts(9, seed=1), np.random.default_rng(2)
    y = 50 + 3 * x[:, 0] + rng.normal(size=25)
    process = MotifProcess(x, kernel)
    posterior = process.fit(y)
    target = (y - y.mean()) / y.std()
    prior = dense(kernel, x, x, x)
    evidences = []
    for noise in NOISE_SHARES:
        noisy = prior + noise * np.eye(25)
        variance = target @ np.linalg.solve(noisy, target) / 25
        evidences.append(-12.5 * np.log(variance) - 0.5 * np.linalg.slogdet(noisy)[1])
    assert posterior.evidence == pytest.approx(max(evidences), rel=1e-4)
    noisy = prior + NOISE_SHARES[int(np.argmax(evidences))] * np.eye(25)
    cross = dense(kernel, x, wanted, x)
    variance = target @ np.linalg.solve(noisy, target) / 25
    left = np.diag(dense(kernel, x, wanted, wanted)) - np.einsum("ij,ji->i", cross, np.linalg.solve(noisy, cross.T))
    found = process.posterior(wanted, [posterior])
    mean, std = found.mean, found.std
    np.testing.assert_allclose(mean[:, 0], y.mean() + y.std() * cross @ np.linalg.solve(noisy, target), rtol=1e-4)
    np.testing.assert_allclose(std[:, 0], y.std() * np.sqrt(variance * left), rtol=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_slopes_are_those_of_the_prediction(kernel):
    x = counts(20)
    y = 2 * x[:, 0] - x[:, 1]
    process = MotifProcess(x, kernel)
    posterior = process.fit(y)
    slopes = process.slopes(posterior)
    for feature in range(x.shape[1]):
        having = x[x[:, feature] > 0]
        step = np.zeros(x.shape[1])
        step[feature] = 0.05
        up, down = (process.posterior(having + s, [posterior]).mean.mean() for s in (step, -step))
        assert slopes[feature] == pytest.approx((up - down) / 0.1 / y.std(), abs=2e-3)
    assert np.argmax(slopes) == 0
    assert np.argmin(slopes) == 1


def test_evidence_tells_a_linear_target_from_a_bent_one():
    x = counts(60)
    assert best_kernel(x, [x @ np.arange(6.0)]).share == 1
    assert best_kernel(x, [np.cos(3 * x).prod(axis=1)]).share < 1


def test_constant_targets_and_single_designs():
    for x in (counts(1), counts(5), np.ones((4, 3))):
        process = MotifProcess(x, Kernel(0.5, 1.0))
        found = process.posterior(counts(3, x.shape[1]), [process.fit(np.full(len(x), 7.0))])
        mean, std = found.mean, found.std
        assert np.allclose(mean, 7.0)
        assert np.isfinite(std).all()
