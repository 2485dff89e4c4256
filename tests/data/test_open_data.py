"""What every kind of data goes through: labels, splits, limits, statistics, leaks."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archsmith.data import open_data
from archsmith.data._arrays import array_loader
from archsmith.data._assemble import assemble_splits, channel_statistics, duplicates, limited, with_all_splits
from archsmith.data.base import Collection
from archsmith.errors import InvalidData, InvalidOption, UnknownName
from archsmith.method import load, names

SPECS = ("digits", "a.npz", "a.parquet", "package.module:make")


def assembled(labels, splits=None, images=None, **options):
    labels = np.asarray(labels)
    splits = np.zeros(len(labels), np.int8) if splits is None else np.asarray(splits, np.int8)
    if images is None:
        images = np.random.default_rng(0).integers(0, 256, (len(labels), 1, 4, 4), dtype=np.uint8)
    settings = {"resize": None, "seed": 0, "limit": None, "on_progress": None} | options
    return assemble_splits(Collection(labels, splits, array_loader(images)), "mine", **settings)


class TestDigits:
    def test_splits_are_stratified_and_disjoint(self):
        data = open_data("digits")
        assert data.shape == (1, 8, 8)
        assert (len(data.train), len(data.val), len(data.test)) == (1079, 359, 359)
        for split in (data.train, data.val, data.test):
            shares = np.bincount(split.labels) / len(split)
            assert np.abs(shares - 0.1).max() < 0.01
        assert data.train.images.max() == 255
        assert not any("also in" in note for note in data.notes)

    def test_same_seed_same_splits(self):
        a, b, c = open_data("digits", seed=1), open_data("digits", seed=1), open_data("digits", seed=2)
        assert a.fingerprint == b.fingerprint != c.fingerprint

    def test_normalised_batches(self):
        data = open_data("digits")
        batches = list(data.batches("train", 64))
        images = torch.cat([x for x, _ in batches])
        assert images.mean().abs() < 1e-4
        assert abs(images.std() - 1) < 1e-3
        assert sum(len(y) for _, y in batches) == len(data.train)

    def test_order_depends_on_seed_and_epoch_alone(self):
        batches = open_data("digits").batches("train", 100, shuffle=True, seed=3)

        def order(epoch):
            batches.set_epoch(epoch)
            return torch.cat([y for _, y in batches]).tolist()

        first, second = order(0), order(1)
        assert first != second
        assert first == order(0)
        assert sorted(first) == sorted(second)

    def test_no_batch_holds_one_image(self):
        batches = open_data("digits").batches("train", 1078 // 2)  # 1,079 images: two full batches and one left over
        assert [len(y) for _, y in batches] == [360, 360, 359]

    def test_resize(self):
        data = open_data("digits", resize=12)
        assert data.shape == (1, 12, 12)
        assert data.train.images.dtype == np.uint8

    def test_unknown_split(self):
        with pytest.raises(UnknownName, match="did you mean 'val'"):
            open_data("digits").batches("vall", 8)

    def test_empty_batch(self):
        with pytest.raises(InvalidOption, match="size=0"):
            open_data("digits").batches("val", 0)


class TestSpecs:
    @pytest.mark.parametrize("spec", SPECS)
    def test_one_source_recognises_each(self, spec):
        assert sum(load("data", name).recognises(spec) for name in names("data")) == 1

    def test_folder_kinds(self, tmp_path):
        assert load("data", "image_folder").recognises(str(tmp_path))
        (tmp_path / "train.parquet").touch()
        assert not load("data", "image_folder").recognises(str(tmp_path))
        assert load("data", "parquet").recognises(str(tmp_path))

    def test_unknown_name_lists_the_formats(self):
        with pytest.raises(
            UnknownName, match=r"did you mean 'digits'\?.*\.npz.*\.parquet.*module:factory|digits"
        ) as error:
            open_data("digit")
        assert all(form in str(error.value) for form in ("did you mean 'digits'", ".npz", ".parquet", "CLASS"))

    def test_wrong_extension(self, tmp_path):
        (tmp_path / "images.xyz").touch()
        with pytest.raises(InvalidData, match=r"no known format.*\.npz"):
            open_data(str(tmp_path / "images.xyz"))


class TestLabels:
    def test_names_are_sorted(self):
        data = assembled(["cat", "dog", "ant"] * 5)
        assert data.classes == ("ant", "cat", "dog")

    def test_gaps_are_numbered_with_a_note(self):
        data = assembled([3, 7] * 10)
        assert data.classes == ("3", "7")
        assert set(data.train.labels) == {0, 1}
        assert "labels 3, 7 were numbered 0..1 in this order" in data.notes

    @pytest.mark.parametrize("labels", [[0.0, 1.0] * 5, [True, False] * 5, [b"x", b"y"] * 5])
    def test_other_types_of_two_classes(self, labels):
        assert len(assembled(labels).classes) == 2

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ([4] * 10, "one class only, 4"),
            ([0.5, 1.5] * 5, "not whole numbers"),
            ([0.0, float("nan")] * 5, "not whole numbers"),
            (np.array(["a", None] * 5, dtype=object), "without a label"),
            ([1j, 2j] * 5, "complex128"),
            ([0, 1] * 5 + [2], "class '2' has 1 training images"),
            ([], "holds no images"),
        ],
    )
    def test_refused(self, labels, message):
        with pytest.raises(InvalidData, match=message):
            assembled(labels)

    def test_class_that_train_lacks(self):
        with pytest.raises(InvalidData, match="test split of 'mine' has classes that train lacks: 2"):
            assembled([0, 1] * 6 + [0, 1, 2], [0] * 12 + [2] * 3)

    def test_no_training_images(self):
        with pytest.raises(InvalidData, match="no training images"):
            assembled([0, 1] * 6, [2] * 12)


class TestSplits:
    def test_tiny_split_is_refused(self):
        with pytest.raises(InvalidData, match="val split of 'mine' has 3 images for 2 classes; two a class"):
            assembled([0, 1] * 6 + [0, 1, 1], [0] * 12 + [1] * 3)

    def test_absent_class_is_noted(self):
        data = assembled([0, 1] * 6 + [0] * 4, [0] * 12 + [1] * 4)
        assert "val has no image of 1" in data.notes

    def test_given_splits_are_kept(self):
        splits = [0] * 12 + [1] * 4 + [2] * 4
        data = assembled([0, 1] * 10, splits)
        assert (len(data.train), len(data.val), len(data.test)) == (12, 4, 4)
        assert data.notes == ()

    def test_made_splits_take_a_fifth_but_at_most_5000(self):
        labels = np.arange(60_000) % 10
        splits, made = with_all_splits(
            labels, np.where(labels.cumsum() < 0, 0, np.int8(0)), tuple("0123456789"), "x", 0
        )
        assert np.bincount(splits).tolist() == [50_000, 5_000, 5_000]
        assert made == [1, 2]

    @given(counts=st.lists(st.integers(4, 40), min_size=2, max_size=6), seed=st.integers(0, 9))
    def test_every_class_is_in_every_made_split(self, counts, seed):
        labels = np.repeat(np.arange(len(counts)), counts)
        splits, _ = with_all_splits(
            labels, np.zeros(len(labels), np.int8), tuple(map(str, range(len(counts)))), "x", seed
        )
        table = np.zeros((len(counts), 3), int)
        np.add.at(table, (labels, splits), 1)
        assert table.sum() == len(labels)
        assert table[:, 0].min() >= 2
        assert table[:, 1:].min() >= 1


class TestLimit:
    @given(
        counts=st.lists(st.integers(6, 60), min_size=6, max_size=6),
        limit=st.integers(12, 400),
        seed=st.integers(0, 5),
    )
    def test_exactly_the_limit_in_proportion(self, counts, limit, seed):
        cells = np.repeat(np.arange(6), counts)
        kept = limited(cells % 2, (cells // 2).astype(np.int8), limit, seed)
        sizes = np.bincount(cells[kept], minlength=6)
        assert len(kept) == len(set(kept.tolist())) == min(limit, sum(counts))
        assert sizes.min() >= 2
        spare = np.array(counts) - 2
        wanted = 2 + spare * min(1, (limit - 12) / spare.sum())
        assert np.abs(sizes - wanted).max() <= 1

    def test_too_small(self):
        with pytest.raises(InvalidOption, match="limit=5 is too small for two images of every class in each split: 60"):
            open_data("digits", limit=5)

    def test_only_the_chosen_are_read(self):
        seen = []
        open_data("digits", limit=100, on_progress=lambda done, total: seen.append((done, total)))
        assert seen == [(100, 100)]


@pytest.mark.parametrize("resize", [0, 3, 1025, -8])
def test_resize_out_of_range(resize):
    with pytest.raises(InvalidOption, match=r"resize must lie in 4\.\.1024"):
        open_data("digits", resize=resize)


def test_too_small_images():
    with pytest.raises(InvalidData, match="2x4 pixels"):
        assembled([0, 1] * 10, images=np.zeros((20, 1, 2, 4), np.uint8))


def test_negative_seed():
    with pytest.raises(InvalidOption, match="seed"):
        open_data("digits", seed=-1)


def test_statistics_of_train_alone():
    images = np.zeros((20, 2, 4, 4), np.uint8)
    images[:10, 0] = 255
    images[10:] = 77  # the other splits
    data = assembled([0, 1] * 10, [0] * 10 + [1] * 4 + [2] * 6, images)
    assert data.mean == (1.0, 0.0)
    assert data.std == (1.0, 1.0)  # constant channels


@given(st.integers(0, 1000))
def test_statistics_equal_numpy(seed):
    rng = np.random.default_rng(seed)
    images = rng.normal(3, 2, (5, 3, 4, 6)).astype(np.float32)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, images.mean((0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(std, images.std((0, 2, 3)), rtol=1e-4)


def test_duplicates_between_splits_are_counted():
    images = np.random.default_rng(0).integers(0, 256, (30, 1, 4, 4), dtype=np.uint8)
    train, val, test = images[:15], images[10:20], np.concatenate([images[20:], images[:2], images[16:17]])
    assert duplicates((train, val, test)) == [
        "5 images of val (50.0 %) also in train, pixel for pixel: accuracy there is flattered",
        "2 images of test (15.4 %) also in train, pixel for pixel: accuracy there is flattered",
        "1 image of test (7.7 %) also in val, pixel for pixel: accuracy there is flattered",
    ]


def cifar10() -> str:
    root = Path(os.environ.get("ARCHSMITH_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (root / "cifar10" / "train.parquet").exists():
        pytest.skip("CIFAR-10 is not here: set ARCHSMITH_DATA to the folder that holds cifar10/train.parquet")
    return str(root / "cifar10")


def test_cifar10():
    seen = []
    data = open_data(cifar10(), limit=2000, on_progress=lambda done, total: seen.append((done, total)))
    assert data.shape == (3, 32, 32)
    assert len(data.train) + len(data.val) + len(data.test) == 2000
    assert data.classes == tuple("0123456789")
    assert np.abs(np.bincount(data.train.labels) - 148).max() <= 1
    assert seen[-1] == (2000, 2000)
    np.testing.assert_allclose(data.mean, (0.491, 0.482, 0.447), atol=0.01)  # those that the literature uses
