"""The default strategy's Gaussian process: exact moments, together or alone, and gradients that are the slope."""

import numpy as np
import pytest

from archsmith.errors import InvalidData
from archsmith.predictor.choice_gaussian_process import (
    FEATURE,
    LEAST_NOISE,
    ChoiceGaussianProcess,
    Covariance,
    Frame,
    _Density,
    _factor,
    posterior_together,
)

GROUPS = np.array([*np.repeat(np.arange(4), 3), *[FEATURE] * 5])


def pairs(n, seed=0):
    """Codes of four choices, five features of which one has gaps; a value of both."""
    rng = np.random.default_rng(seed)
    codes = np.eye(3)[rng.integers(0, 3, (n, 4))].reshape(n, 12) / np.sqrt(2)
    features = rng.normal(size=(n, 5))
    y = codes[:, 0] + codes[:, 4] * codes[:, 8] + np.sin(features[:, 0]) + 0.3 * features[:, 1]
    features[rng.random(n) < 0.3, 4] = np.nan
    return np.concatenate([codes, features], axis=1), y


def test_the_moments_are_those_of_the_formula():
    """By the textbook, in double precision and with nothing shared."""
    x, y = pairs(40)
    new = pairs(300, 1)[0]
    process = ChoiceGaussianProcess(groups=GROUPS.tolist())
    process.fit(x, y)
    p, frame = np.exp(process._theta), Frame(x, GROUPS)
    both = [frame.of(np.concatenate([x, new]))]
    [data] = both
    apart = np.sqrt(((data.features[:, None] - data.features) ** 2).sum(axis=2)) * np.sqrt(5) / p[4]
    coded = data.codes * np.sqrt(np.repeat(p[5:-1], 3))
    kernel = p[0] * data.centred @ data.centred.T + p[3] * data.features @ data.features.T
    kernel += p[1] * np.exp(-((coded[:, None] - coded) ** 2).sum(axis=2))
    kernel += p[2] * (1 + apart + apart**2 / 3) * np.exp(-apart)
    known = kernel[:40, :40] + (p[-1] + LEAST_NOISE) * np.eye(40)
    weights = np.linalg.solve(known, kernel[:40, 40:])
    mean = y.mean() + weights.T @ (y - y.mean())
    std = y.std() * np.sqrt(np.diag(kernel[40:, 40:]) - (kernel[:40, 40:] * weights).sum(axis=0))
    found = process.predict(new)
    np.testing.assert_allclose(found[0], mean, atol=2e-4)
    np.testing.assert_allclose(found[1], std, rtol=1e-3)


def test_processes_that_share_a_frame_predict_as_alone():
    x, y = pairs(50)
    new = pairs(700, 2)[0]
    frame, other = Frame(x, GROUPS), Frame(x[:30], GROUPS)
    together = [ChoiceGaussianProcess() for _ in range(3)]
    for process, (where, values) in zip(together, [(frame, y), (other, y[:30]), (frame, y**2)], strict=True):
        process.retune(where, values, 5)
    found = posterior_together(together, new)
    means, deviations = found.mean, found.std
    for j, process in enumerate(together):
        alone = process.predict(new)
        np.testing.assert_array_equal(means[:, j], alone[0])
        np.testing.assert_array_equal(deviations[:, j], alone[1])


@pytest.mark.parametrize("width", [17, 12])
def test_the_gradient_is_the_slope(width):
    x, y = pairs(30)
    density = _Density(Frame(x[:, :width], GROUPS[:width]), (y - y.mean()) / y.std())
    theta = density.expected + np.random.default_rng(0).normal(size=len(density.expected)) / 3
    gradient = density(theta)[1]
    for j in range(len(theta)):
        if width == 12 and 2 <= j < 5:
            continue  # without features their part of the covariance stays as it is
        step = np.eye(len(theta))[j] * 1e-5
        assert gradient[j] == pytest.approx(
            (density(theta + step)[0] - density(theta - step)[0]) / 2e-5, rel=1e-4, abs=1e-5
        )


def test_frames_refuse_what_cannot_be_learnt_from():
    x, y = pairs(10)
    with pytest.raises(InvalidData, match="one a column"):
        Frame(x[:, :5], GROUPS)
    x[3, 14] = np.inf
    with pytest.raises(InvalidData, match="infinite"):
        Frame(x, GROUPS)
    with pytest.raises(InvalidData, match="for 10"):
        ChoiceGaussianProcess().condition(Frame(pairs(10)[0], GROUPS), y[:9])


def test_large_variances_are_no_obstacle():
    """Rounded to single precision such a covariance has negative eigenvalues."""
    x, y = pairs(300)
    process = ChoiceGaussianProcess(groups=GROUPS.tolist())
    process.fit(x, y)
    process._theta[:5] += 6
    process._theta[-1] = -20
    process.condition(x, y)
    frame, noise = Frame(x, GROUPS), np.exp(-20) + LEAST_NOISE
    assert (
        _factor(Covariance(frame.single, np.exp(process._theta))(frame.single, frame.apart(frame.single)), noise)
        is None
    )
    assert all(np.isfinite(found).all() for found in process.predict(x))
