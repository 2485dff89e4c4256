"""Support vectors, trees, averages and the motif process: what their papers claim; and missing values."""

import numpy as np
import pytest

from archsmith import method
from archsmith.encoding.one_hot import OneHot
from archsmith.encoding.weisfeiler_lehman import WeisfeilerLehman
from archsmith.errors import InvalidOption, UnknownName
from archsmith.predictor import kendall_tau
from archsmith.predictor._columns import Columns
from archsmith.predictor.averaged import Averaged
from archsmith.predictor.extra_trees import ExtraTrees
from archsmith.predictor.gaussian_process import GaussianProcess
from archsmith.predictor.gradient_boosting import GradientBoosting
from archsmith.predictor.motif_gaussian_process import MotifGaussianProcess
from archsmith.predictor.random_forest import RandomForest
from archsmith.predictor.ridge import Ridge
from archsmith.predictor.svr import Svr
from archsmith.testing.encodings import wired_space
from archsmith.testing.predictors import problem


def few(make):
    """With few trees, where there are trees."""
    trees = {ExtraTrees: {"trees": 40}, RandomForest: {"trees": 40}, GradientBoosting: {"runs": 2, "trees": 60}}
    return make(**trees.get(make, {}))


WITH_GAPS = [Ridge, GaussianProcess, Svr, GradientBoosting, RandomForest, ExtraTrees, MotifGaussianProcess]


@pytest.mark.parametrize("make", WITH_GAPS)
def test_missing_values_are_no_obstacle_and_tell_something(make):
    """One column is missing where the value is high; another is never known; a third is missing only later."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.integers(0, 2, (80, 6)), rng.normal(size=(80, 3))], axis=1)
    high = x[:, 0] + x[:, 1] > 1
    y = x[:, 2] + 5 * high
    x[:, 0] = x[:, 1] = 0  # what makes it high shows in the gaps alone
    x[high, 6], x[:, 7] = np.nan, np.nan
    predictor = few(make)
    predictor.fit(x[:60], y[:60])
    wanted = x[60:].copy()
    wanted[:, 8] = np.nan
    before = wanted.copy()
    mean, std = predictor.predict(wanted)
    np.testing.assert_array_equal(wanted, before)
    assert np.isfinite(std).all()
    if make is not MotifGaussianProcess:  # its columns are counts unless it is told otherwise
        assert mean[high[60:]].min() > mean[~high[60:]].max()


def test_columns_leave_codes_alone_scale_counts_and_draw_tails_in():
    rng = np.random.default_rng(0)
    codes, counts = rng.integers(0, 2, (200, 1)), rng.integers(0, 5, (200, 1))
    wild = np.exp(8 * rng.normal(size=(200, 1)))
    x = np.concatenate([codes, counts, wild], axis=1).astype(float)
    prepared = Columns(x, scores=True)(x)
    np.testing.assert_array_equal(prepared[:, 0], x[:, 0])
    np.testing.assert_allclose(prepared[:, 1:].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(prepared[:, 1:].std(axis=0), 1)
    assert np.abs(prepared[:, 2]).max() < 4 < np.abs(Columns(x)(x)[:, 2]).max()
    assert (np.diff(prepared[np.argsort(wild.ravel()), 2]) >= 0).all()


def test_columns_mark_each_pattern_of_gaps_once():
    x = np.arange(20.0).reshape(5, 4)
    x[1, 0] = x[1, 1] = x[2, 3] = np.nan
    x[:, 2] = np.nan
    prepared = Columns(x)(x)
    assert prepared.shape == (5, 6)
    np.testing.assert_array_equal(prepared[:, 4:], [[0, 0], [1, 0], [0, 1], [0, 0], [0, 0]])
    assert prepared[1, 0] == prepared[1, 1] == 0
    assert not prepared[:, 2].any()


@pytest.mark.parametrize("make", [Svr, GradientBoosting, ExtraTrees])
def test_curves_are_learnt_that_no_line_follows(make):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(140, 3))
    y = np.sin(3 * x[:, 0]) + x[:, 1] ** 2
    scores = []
    for predictor in (few(make), Ridge()):
        predictor.fit(x[:100], y[:100])
        scores.append(kendall_tau(predictor.predict(x[100:])[0], y[100:]))
    assert scores[0] > scores[1]
    assert scores[0] > 0.7


def test_the_spread_of_support_vectors_is_what_they_err_by():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    y = x[:, 0] + 0.5 * rng.normal(size=120)
    predictor = Svr()
    predictor.fit(x, y)
    _, std = predictor.predict(x)
    assert len(set(std)) == 1
    assert 0.4 < std[0] < 0.75


def test_the_average_is_the_mean_of_its_members_and_doubts_where_they_differ():
    x, y = problem(40)
    wanted, _ = problem(9, seed=1)
    members = [Ridge(), GaussianProcess()]
    both = Averaged(members=members)
    both.fit(x, y)
    mean, std = both.predict(wanted)
    said = [m.predict(wanted) for m in members]
    np.testing.assert_allclose(mean, (said[0][0] + said[1][0]) / 2)
    spread = (said[0][0] - said[1][0]) ** 2 / 4
    np.testing.assert_allclose(std**2, (said[0][1] ** 2 + said[1][1] ** 2) / 2 + spread)


SPACE = wired_space()
ROWS = SPACE.enumerate_rows()
MOTIFS = WeisfeilerLehman(SPACE, rounds=2)
COUNTS = MOTIFS.encode(ROWS).astype(float)
GOOD = COUNTS[:, MOTIFS.names.index("conv(conv)")]


def test_motifs_that_help_are_named():
    """The value is the number of convolutions of convolutions, which one round finds, and a little noise."""
    rng = np.random.default_rng(0)
    some = rng.permutation(len(ROWS))
    learnt, rest = some[:100], some[100:]
    predictor = MotifGaussianProcess(groups=MOTIFS.rounds)
    predictor.fit(COUNTS[learnt], GOOD[learnt] + 0.05 * rng.normal(size=100))
    assert predictor.rounds >= 1
    assert MOTIFS.names[int(np.argmax(predictor.effects()))] == "conv(conv)"
    assert np.corrcoef(predictor.predict(COUNTS[rest])[0], GOOD[rest])[0, 1] > 0.7


def test_effects_are_the_slopes_of_the_mean():
    predictor = MotifGaussianProcess()
    x = COUNTS[COUNTS.any(axis=1)][::9]
    predictor.fit(x, np.sin(np.arange(len(x))))
    effects = predictor.effects()
    for column in range(0, x.shape[1], 60):
        step = np.zeros(x.shape[1])
        step[column] = 1e-5
        slope = np.mean(predictor.predict(x + step)[0] - predictor.predict(x - step)[0]) / 2e-5
        assert effects[column] == pytest.approx(slope, abs=1e-6)


def test_other_columns_are_learnt_from_beside_motifs():
    rng = np.random.default_rng(0)
    codes = OneHot(SPACE).encode(ROWS).astype(float)
    x = np.concatenate([COUNTS, codes], axis=1)
    y = codes[:, 0] + 2 * codes[:, 5] * codes[:, 1]
    some = rng.permutation(len(ROWS))[:160]
    predictor = MotifGaussianProcess(groups=[*MOTIFS.rounds, *[-1] * codes.shape[1]])
    predictor.fit(x[some], y[some])
    alone = MotifGaussianProcess(groups=[-1] * codes.shape[1])
    alone.fit(codes[some], y[some])
    for predicted in (predictor.predict(x)[0], alone.predict(codes)[0]):
        assert np.corrcoef(predicted, y)[0, 1] > 0.9
    assert not predictor.effects()[len(MOTIFS.names) :].any()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Svr(tube=-1.0), "tube=-1.0"),
        (lambda: ExtraTrees(trees=1), "trees=1"),
        (lambda: ExtraTrees(share=0.0), "share=0.0"),
        (lambda: GradientBoosting(runs=1), "runs=1"),
        (lambda: Averaged(members=[]), "no list of predictors"),
        (lambda: Averaged(members="ridge"), "no list of predictors"),
        (lambda: MotifGaussianProcess(most=1), "most=1"),
        (lambda: MotifGaussianProcess(groups=[0]).fit(COUNTS, GOOD), "groups names 1 columns"),
    ],
)
def test_options_are_checked(wrong, said):
    with pytest.raises(InvalidOption, match=said):
        wrong()


def test_a_member_of_another_name_is_refused():
    with pytest.raises(UnknownName, match="ridge"):
        Averaged(members=["rigde"])
    assert "averaged" in method.names("predictor")
