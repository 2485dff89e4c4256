"""What the papers of the network predictors claim, on problems made for it; and that they leave torch alone."""

import sys

import numpy as np
import pytest

from archsmith.errors import InvalidData, InvalidOption, MissingExtra
from archsmith.predictor._bandit import Exp3, Ucb1, Uniform
from archsmith.predictor.low_density_separation import LowDensitySeparation
from archsmith.predictor.mlp_ensemble import MlpEnsemble
from archsmith.predictor.pretrained import Pretrained
from archsmith.testing.predictors import problem

torch = pytest.importorskip("torch")
NETWORKS = [MlpEnsemble, Pretrained, LowDensitySeparation]


def order(a, b):
    """Spearman's rank correlation."""
    return np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1]


def products(n, seed=0):
    """Bits, and a target that is all interaction: no line orders it."""
    bits = np.random.default_rng(seed).integers(0, 2, (n, 8)) * 2.0 - 1
    return bits, bits[:, 0] * bits[:, 1] + 0.7 * bits[:, 2] * bits[:, 3] + 0.4 * bits[:, 4]


@pytest.mark.parametrize("make", NETWORKS)
def test_global_generator_and_threads_stay_as_they_were(make):
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    predictor = make()
    predictor.fit(*problem(12))
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("make", NETWORKS)
def test_without_torch_the_extra_is_named(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"archsmith\[torch\]"):
        make()


@pytest.mark.parametrize("make", NETWORKS)
def test_another_seed_is_another_ensemble(make):
    x, y = problem(20)
    first, second = make(seed=1), make(seed=2)
    first.fit(x, y)
    second.fit(x, y)
    assert not np.array_equal(first.predict(x)[0], second.predict(x)[0])


def test_the_order_of_interactions_is_learnt():
    predictor = MlpEnsemble()
    predictor.fit(*products(128))
    x, y = products(300, seed=1)
    assert order(predictor.predict(x)[0], y) > 0.8


def test_an_outlier_does_not_ruin_the_order():
    """What the ranking loss is for: one failed training in forty."""
    x, y = products(120)
    y[::40] -= 50
    predictor = MlpEnsemble()
    predictor.fit(x, y)
    wanted, truth = products(300, seed=1)
    assert order(predictor.predict(wanted)[0], truth) > 0.6


@pytest.mark.parametrize("make", [MlpEnsemble, Pretrained])
def test_the_spread_covers_what_is_unseen(make):
    predictor = make()
    predictor.fit(*problem(80))
    x, y = problem(200, seed=1)
    mean, std = predictor.predict(x)
    assert np.mean(np.abs(mean - y) < 2 * std) > 0.85
    assert std.mean() < y.std()


def related(n, seed=0):
    """Encodings, a target, and a free statistic that shares its hidden factors."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, (n, 24)) * 2.0 - 1
    hidden = np.tanh(x @ np.random.default_rng(99).normal(size=(24, 3)) / 2)
    return (
        x,
        hidden @ [1.0, -1.0, 0.5],
        {"size": hidden[:, 0] + 0.1 * hidden[:, 1], "time": hidden[:, 1] - hidden[:, 2]},
    )


def test_pretraining_on_free_statistics_helps_with_few_labels():
    free, _, statistics = related(1500, seed=1)
    wanted, truth, _ = related(400, seed=2)
    gains = []
    for seed in range(2):
        x, y, _ = related(24, seed=10 + seed)
        cold, warm = Pretrained(members=2), Pretrained(members=2, pretraining=300)
        warm.pretrain({name: (free, values) for name, values in statistics.items()})
        cold.fit(x, y)
        warm.fit(x, y)
        gains.append(order(warm.predict(wanted)[0], truth) - order(cold.predict(wanted)[0], truth))
    assert min(gains) > 0.05


def test_labels_are_forgotten_but_not_the_pretraining():
    free, _, statistics = related(200, seed=1)
    x, y, _ = related(24)
    predictor = Pretrained(members=2, steps=10, pretraining=20)
    predictor.pretrain({"size": (free, statistics["size"])})
    predictor.fit(x, y)
    first = predictor.predict(x)[0]
    predictor.fit(x, -y)
    predictor.fit(x, y)
    np.testing.assert_array_equal(first, predictor.predict(x)[0])
    plain = Pretrained(members=2, steps=10)
    plain.fit(x, y)
    assert not np.array_equal(first, plain.predict(x)[0])


def test_sources_are_checked():
    x, y = problem(10)
    with pytest.raises(InvalidData, match="no source"):
        Pretrained().pretrain({})
    with pytest.raises(InvalidData, match="alike"):
        Pretrained().pretrain({"a": (x, y), "b": (x[:, :3], y)})
    predictor = Pretrained(pretraining=1)
    predictor.pretrain({"a": (x, y)})
    with pytest.raises(InvalidData, match="encode alike"):
        predictor.fit(x[:, :3], y)


@pytest.mark.parametrize(("kind", "share"), [(Exp3, 0.35), (Ucb1, 0.35)])
def test_bandits_find_the_source_that_helps(kind, share):
    """Of five, of which one has aligned gradients: more often than uniform mixing, which draws it in 20 % of steps."""
    rng = np.random.default_rng(0)
    drawn = {}
    for each in (kind, Uniform):
        arms, drawn[each] = each(5, np.random.default_rng(1)), 0
        for _ in range(400):
            arm = arms.draw()
            drawn[each] += arm == 3
            arms.reward(arm, (0.8 if arm == 3 else 0.0) + 0.1 * rng.normal())
    assert drawn[kind] / 400 > share > 0.25 > drawn[Uniform] / 400


def moons(n, seed):
    """Two interleaved half circles: a border through the gap is found only by who sees the shape."""
    rng = np.random.default_rng(seed)
    side = rng.integers(0, 2, n)
    angle = np.pi * rng.random(n)
    x = np.stack([np.cos(angle) + side, np.where(side, 0.5 - np.sin(angle), np.sin(angle))], axis=1)
    return x + 0.08 * rng.normal(size=x.shape), side.astype(float)


def test_unlabelled_architectures_move_the_border():
    around, _ = moons(1000, seed=99)
    wanted, truth = moons(600, seed=98)
    right = {"with": 0.0, "without": 0.0}
    for seed in range(4):
        x, y = moons(12, seed)
        for how in right:
            predictor = LowDensitySeparation(members=3, density=5.0)
            if how == "with":
                predictor.observe(around)
            predictor.fit(x, y)
            right[how] += np.mean((predictor.predict(wanted)[0] > 0.5) == truth) / 4
    assert right["with"] > right["without"] + 0.015


def test_small_may_be_good():
    """The mirrored problem has the mirrored prediction."""
    x, y = problem(40)
    large, small = LowDensitySeparation(good=0.3), LowDensitySeparation(good=0.3, smallest=True)
    large.fit(x, y)
    small.fit(x, -y)
    np.testing.assert_allclose(large.predict(x)[0], -small.predict(x)[0], rtol=1e-5)


def test_ties_at_the_cut_leave_both_sides_filled():
    """Good is the nearest share that the values allow, with something on each side."""
    x, y = moons(40, seed=1)
    for level in (y, (x[:, 0] >= np.sort(x[:, 0])[-3]).astype(float)):
        predictor = LowDensitySeparation(good=0.5)
        predictor.fit(x, level)
        mean, _ = predictor.predict(x)
        assert mean[level == 1].mean() > mean[level == 0].mean() + 0.05


def test_unlabelled_encodings_are_checked():
    x, y = problem(10)
    predictor = LowDensitySeparation()
    with pytest.raises(InvalidData, match="finite"):
        predictor.observe(np.full((3, 2), np.nan))
    predictor.observe(x[:, :3])
    with pytest.raises(InvalidData, match="encode alike"):
        predictor.fit(x, y)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (MlpEnsemble, {"members": 1}),
        (MlpEnsemble, {"steps": 0}),
        (Pretrained, {"mixing": "always"}),
        (Pretrained, {"pretraining": 0}),
        (LowDensitySeparation, {"good": 1.0}),
        (LowDensitySeparation, {"density": -1}),
    ],
)
def test_options_are_checked(make, options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        make(**options)
