"""The size of images as a choice."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import archsmith as smith
from archsmith.architecture import Proposal
from archsmith.errors import InvalidModel, InvalidOption
from archsmith.evaluator.counts import Counts
from archsmith.evaluator.user_metric import UserMetric
from archsmith.plan import Plan
from archsmith.structure.resolution import fitted, resized_images
from archsmith.testing import supernets as laws

IMAGES = torch.rand(4, 3, 16, 24, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A small residual network; what it does with sizes is what the tests look at."""

    def __init__(self, kind="plain", size=16):
        super().__init__()
        with laws.seeded():
            self.stem, self.norm = nn.Conv2d(3, size, 3, stride=2, padding=1), nn.BatchNorm2d(size)
            self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(size, size, 3, padding=1), nn.ReLU()) for _ in range(3))
            self.head = nn.Linear(size * (8 * 12 if kind == "flat" else 1), 5)
            self.table = nn.Parameter(torch.randn(8 * 12, size))
            self.rows = nn.Embedding(8, size)
        self.kind = kind

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        _, c, h, w = x.shape
        if self.kind == "added":
            x = x + self.table.T.view(c, 8, 12)
        elif self.kind == "prefix":
            x = x + self.table[: h * w].T.reshape(c, h, w)
        elif self.kind == "looked up":
            x = x + self.rows(torch.arange(h)).T[:, :, None]
        elif self.kind == "interpolated":
            table = self.table.T.view(1, c, 8, 12)
            x = x + F.interpolate(table, (h, w), mode="bilinear")
        for block in self.blocks:
            x = x + block(x)
        if self.kind == "dense":
            return self.head(x.permute(0, 2, 3, 1))
        return self.head(x.flatten(1) if self.kind == "flat" else x.mean((2, 3)))


def elastic(model, inputs=IMAGES, **options):
    return smith.elastic(model, inputs, **{"width": (0.5, 1.0), "multiple": 1, "resolution": (8, 12), **options})


@pytest.fixture(scope="module")
def supernet():
    return elastic(Net()).eval()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_subnet_gets_its_images_smaller(supernet, seed):
    arch = supernet.random(np.random.default_rng(seed))
    height = arch.to_dict()["input.resolution"]
    small = F.interpolate(IMAGES, (height, height * 3 // 2), mode="bilinear", antialias=True)
    small = IMAGES if height == 16 else small
    assert [tuple(x.shape) for x in supernet.inputs_of(arch)] == [tuple(small.shape)]
    network = supernet.extract(arch)
    with torch.no_grad():
        assert torch.equal(supernet(IMAGES, arch=arch), network(small))
        assert torch.equal(supernet(x=IMAGES, arch=arch), network(small))
    laws.check_equality(supernet, arch, (small,), tolerance=1e-5)
    laws.check_plan(supernet, arch)
    plan = supernet.plan(arch)
    assert plan.inputs == ({} if height == 16 else {"0": (height, height * 3 // 2)})
    assert Plan.from_json(plan.to_json()) == plan


def test_the_other_laws(supernet, rng):
    laws.check_coupling(supernet, (IMAGES,), rng)
    laws.check_as_found(supernet, supernet.smallest, (IMAGES,))
    assert torch.equal(supernet(IMAGES), supernet.model(IMAGES))
    laws.check_calibration(supernet, supernet.smallest, supernet.largest, [IMAGES, IMAGES + 1])


def test_statistics_are_those_of_small_images(supernet):
    arch = supernet.space.architecture({**supernet.largest.to_dict(), "input.resolution": 8})
    supernet.record_calibration([(IMAGES, None)])
    try:
        found = supernet.calibrated_plan(arch).overrides["norm.running_mean"]
    finally:
        supernet._calibration = ()
    expected = supernet.model.stem(resized_images(IMAGES, (8, 12))).mean((0, 2, 3))
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    other = supernet.model.stem(IMAGES).mean((0, 2, 3)).detach().numpy()
    assert abs(found - other).max() > 1e-3


def test_sizes_that_are_offered():
    def heights(images, sizes):
        supernet = smith.elastic(Net(), torch.rand(1, 3, *images), resolution=sizes)
        return next(c.options for c in supernet.space.choices if c.name == "input.resolution")

    assert heights((224, 224), (0.5, 0.75, 1.0)) == (128, 160, 224)
    assert heights((224, 224), [160, 192]) == (160, 192, 224)
    assert heights((32, 48), (0.6,)) == (16, 32)
    assert heights((30, 30), (0.6,)) == (18, 30)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("flat", "does not run"),
        ("added", "does not run"),
        ("dense", "the outputs have the shapes"),
        ("prefix", "another part of table is read"),
        ("looked up", "another part of rows.weight is read"),
    ],
)
def test_networks_for_one_size_are_refused_with_the_reason(kind, words):
    supernet = elastic(Net(kind))
    assert "input.resolution" not in supernet.space.names
    assert words in supernet.explain("input.resolution=8")
    assert words in str(supernet.account())


def test_tables_that_are_interpolated_do():
    supernet = elastic(Net("interpolated")).eval()
    assert "input.resolution" in supernet.space.names
    arch = supernet.smallest
    with torch.no_grad():
        assert torch.equal(supernet(IMAGES, arch=arch), supernet.extract(arch)(resized_images(IMAGES, (8, 12))))


def test_one_size_that_does_not_fit_is_left_out():
    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 16, 1), nn.Linear(16, 2)

        def forward(self, x):
            b, _, h, w = x.shape
            x = self.stem(x).view(b, -1, h // 4, 4, w // 4, 4)
            return self.head(x.mean((2, 3, 4, 5)))

    supernet = elastic(Windows(), resolution=(8, 10))
    assert next(c.options for c in supernet.space.choices if c.name == "input.resolution") == (8, 16)
    assert "does not run" in supernet.explain("input.resolution=10")


def test_images_by_name_and_in_half_precision():
    class Named(Net):
        def forward(self, mask, pixels):
            return super().forward(pixels) * mask

    inputs = {"mask": torch.ones(4, 1), "pixels": IMAGES}
    supernet = elastic(Named(), inputs).eval()
    arch = supernet.smallest
    assert supernet.plan(arch).inputs == {"pixels": (8, 12)}
    small = {**inputs, "pixels": resized_images(IMAGES, (8, 12))}
    with torch.no_grad():
        expected = supernet.extract(arch)(**small)
        assert torch.equal(supernet(**inputs, arch=arch), expected)
        assert torch.equal(supernet(inputs["mask"], IMAGES, arch=arch), expected)
    assert [tuple(x.shape) for x in supernet.inputs_of(arch)] == [(4, 1), (4, 3, 8, 12)]
    assert fitted({"0": (8, 12)}, IMAGES).shape == (4, 3, 8, 12)
    half = elastic(Net().half(), IMAGES.half()).eval()
    assert half(IMAGES.half(), arch=half.smallest).dtype == torch.float16


DECLARED = {"": smith.Elastic(out=smith.Width("w", (8, 16)))}


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: elastic(Net(), resolution=[32]), InvalidOption, "resolution=32 is more than the 16 pixels"),
        (lambda: elastic(Net(), resolution=[0]), InvalidOption, "resolution is a list of sizes"),
        (lambda: elastic(nn.Sequential(nn.Linear(6, 16), nn.Linear(16, 2)), torch.rand(2, 6)), InvalidModel, "images"),
        (
            lambda: smith.elastic(nn.Linear(6, 16), torch.rand(2, 6), DECLARED, resolution=[8]),
            InvalidOption,
            "needs a model that is traced",
        ),
    ],
)
def test_bad_input(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_frozen_where_asked():
    supernet = elastic(Net(), freeze=["input.resolution"])
    assert "frozen" in supernet.explain("input.resolution")


def test_costs_and_own_metrics_are_those_of_the_small_network(supernet):
    large = supernet.largest
    small = supernet.space.architecture({**large.to_dict(), "input.resolution": 8})
    counts = Counts(supernet)
    macs = [counts.measure(Proposal(a), seed=0)["macs"].value for a in (large, small)]
    assert 0.24 < macs[1] / macs[0] < 0.27
    seen = UserMetric("mean", lambda network: float(network(IMAGES).mean())).bind(supernet)
    expected = supernet(IMAGES, arch=small).mean().item()
    assert seen.measure(Proposal(small), seed=0)["mean"].value == pytest.approx(expected)


def test_training_runs_at_every_size(rng):
    supernet = elastic(Net(), only=["input.resolution"])
    seen = []
    supernet.model.stem.register_forward_pre_hook(lambda _m, args: seen.append(args[0].shape[-1]))
    labels = torch.arange(4) % 5
    before = {n: p.detach().clone() for n, p in supernet.model.named_parameters()}
    smith.train(supernet, [(IMAGES, labels)] * 6, method="sandwich", epochs=1, lr=0.01)
    assert {12, 24} <= set(seen) <= {12, 18, 24}
    assert not torch.equal(before["stem.weight"], supernet.model.stem.weight)
