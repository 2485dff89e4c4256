"""What every performance predictor must do.

Subclass the suite with the name of yours::

class TestMine(PredictorConformance):
    name = "mypackage.mine:Mine"

:class:`PredictorCoreConformance` is its cheaper part, for every day.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from archsmith import method
from archsmith.encoding.one_hot import OneHot
from archsmith.errors import InvalidData
from archsmith.predictor.base import Predictor
from archsmith.testing.toy import toy_space

Array = NDArray[np.float64]


def problem(n: int, seed: int = 0) -> tuple[Array, Array]:
    """Encodings ``(n, d)`` of random toy architectures and a target ``(n,)`` that is mostly linear in them."""
    rng = np.random.default_rng(seed)
    x = np.asarray(OneHot(toy_space()).encode(toy_space().sample_rows(n, rng)), dtype=float)
    weights = np.random.default_rng(99).normal(size=x.shape[1])
    return x, 50 + x @ weights + 0.3 * x[:, 0] * x[:, 3]


class PredictorCoreConformance:
    """What every predictor is held to, whatever was changed.

    Attributes:
        name: of the predictor, or ``module:Class``.
        options: for all tests.
    """

    __test__ = False
    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __init_subclass__(cls) -> None:
        """Have pytest collect subclasses with a name, and not the suites where they are imported."""
        super().__init_subclass__()
        cls.__test__ = hasattr(cls, "name")

    def fitted(self, x: Array, y: Array) -> Predictor:
        """A new predictor that has learnt ``x`` and ``y``."""
        predictor: Predictor = method.make("predictor", self.name, **self.options)
        predictor.fit(x, y)
        return predictor

    @pytest.mark.parametrize("n", [1, 40])
    def test_shapes_and_spread(self, n: int) -> None:
        """Also from fewer pairs than columns; a standard deviation is never negative."""
        predictor = self.fitted(*problem(n))
        for k in (0, 1, 17):
            mean, std = predictor.predict(problem(k + 1, seed=1)[0][:k])
            assert mean.shape == std.shape == (k,)
            assert np.isfinite(mean).all()
            assert np.isfinite(std).all()
            assert (std >= 0).all()

    def test_learns(self) -> None:
        """Half of the variance of unseen designs is explained, from 120 pairs."""
        x, y = problem(80, seed=1)
        mean, _ = self.fitted(*problem(120)).predict(x)
        assert np.mean((mean - y) ** 2) < 0.5 * np.var(y)

    def test_fitting_again_forgets(self) -> None:
        x, _ = problem(9, seed=1)
        predictor = self.fitted(*problem(50, seed=7))
        predictor.fit(*problem(30))
        np.testing.assert_array_equal(predictor.predict(x), self.fitted(*problem(30)).predict(x))

    @pytest.mark.parametrize("level", [-3.5])
    def test_a_constant_target(self, level: float) -> None:
        x, _ = problem(20)
        mean, std = self.fitted(x, np.full(20, level)).predict(problem(9, seed=1)[0])
        np.testing.assert_allclose(mean, level, rtol=1e-9, atol=1e-9)
        assert (std >= 0).all()

    def test_equal_encodings(self) -> None:
        """Repeated designs, with equal values and with contradicting ones."""
        x, y = problem(12)
        mean, _ = self.fitted(np.repeat(x, 3, axis=0), np.repeat(y, 3) + np.tile([-0.1, 0.0, 0.1], 12)).predict(x)
        assert np.corrcoef(mean, y)[0, 1] > 0.8
        mean, std = self.fitted(np.repeat(x[:1], 5, axis=0), np.arange(5.0)).predict(x)
        assert np.isfinite(mean).all()
        assert np.isfinite(std).all()

    def test_refuses_what_is_not_finite(self) -> None:
        x, y = problem(5)
        y[2] = np.nan
        with pytest.raises(InvalidData):
            self.fitted(x, y)

    def test_leaves_its_data_alone(self) -> None:
        x, y = problem(20)
        before = (x.copy(), y.copy())
        self.fitted(x, y).predict(x)
        np.testing.assert_array_equal(x, before[0])
        np.testing.assert_array_equal(y, before[1])


class PredictorConformance(PredictorCoreConformance):
    """All tests; pytest runs those of each subclass."""

    @pytest.mark.parametrize("n", [2, 3])
    def test_shapes_and_spread_of_few(self, n: int) -> None:
        self.test_shapes_and_spread(n)

    @pytest.mark.parametrize("level", [0.0, 1e9])
    def test_other_constant_targets(self, level: float) -> None:
        self.test_a_constant_target(level)

    def test_equal_data_give_equal_predictions(self) -> None:
        x, _ = problem(9, seed=1)
        first, second = (self.fitted(*problem(30)).predict(x) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_the_unit_of_the_target_does_not_matter(self) -> None:
        """By a power of two, which rounds nothing."""
        x, y = problem(30)
        wanted, _ = problem(9, seed=1)
        mean, std = self.fitted(x, y).predict(wanted)
        small, narrow = self.fitted(x, y / 1024).predict(wanted)
        np.testing.assert_allclose(1024 * small, mean, rtol=1e-6)
        np.testing.assert_allclose(1024 * narrow, std, rtol=1e-3, atol=1e-6)
