"""Choice modules, extraction, calibration and relaxed decisions."""

import numpy as np
import pytest
import torch
from torch import nn

from archsmith.errors import InvalidArchitecture, InvalidData, InvalidModel, InvalidOption, UnknownName
from archsmith.structure.choices import ChoiceModule
from archsmith.supernet import Depth, Elastic, Kernel, Optional, Relaxed, Supernet, Switch, Width
from archsmith.supernet.networks.residual_convnet import ResidualConvNet


@pytest.fixture
def one(mlp):
    return mlp.space.architecture({"hidden": 8, "blocks": 2, "second": False, "head": "tall", "inner": 5})


def test_outside_of_a_supernet_the_largest_runs(models, mlp_inputs):
    model = models["mlp"][0]().eval()
    x = model.norm(model.first(*mlp_inputs))
    blocks = dict(model.blocks.named_children())
    for block in (blocks["0"], blocks["1"].module, blocks["2"]):
        x = block(x)
    assert torch.equal(model(*mlp_inputs), model.head.flat(x))


def test_extraction_leaves_plain_modules(mlp, one):
    network = mlp.extract(one)
    assert type(network.blocks) is nn.Sequential
    assert type(network.blocks[1]) is nn.Identity
    assert type(network.head) is nn.Sequential
    assert not network.training
    for module in network.modules():
        assert not isinstance(module, ChoiceModule)
        assert not type(module).__module__.startswith("archsmith")
        assert not module._forward_hooks
        assert not {"__deepcopy__", "_number"} & vars(module).keys()
    assert list(network.state_dict())[:6] == list(mlp.model.state_dict())[:6]
    assert network.first.out_features == 8
    assert network.norm.normalized_shape == (8,)
    assert all(p.is_contiguous() and p.untyped_storage().nbytes() == p.nbytes for p in network.parameters())


def test_extraction_leaves_the_supernet_alone(mlp, one):
    before = mlp.weights_fingerprint
    with torch.no_grad():
        for parameter in mlp.extract(one).parameters():
            parameter.zero_()
    assert mlp.weights_fingerprint == before


def test_keys_are_the_models_own_where_nothing_was_replaced(branches):
    network = branches.extract(branches.smallest)
    assert list(network.state_dict()) == list(branches.model.state_dict())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Switch("s", {"only": nn.Identity()}), "two or more"),
        (lambda: Switch("s", {"a.b": nn.Identity(), "c": nn.Identity()}), "without dots"),
        (lambda: Switch("s", {"options": nn.Identity(), "c": nn.Identity()}), "cannot name"),
        (lambda: Depth("d", [nn.Identity()], options=(2, 1)), "ascend"),
        (lambda: Depth("d", [nn.Identity()] * 3, options=(1, 2)), "number of blocks, 3"),
    ],
)
def test_choice_modules_are_checked(make, message):
    with pytest.raises(InvalidModel, match=message):
        make()


# Calibration


def test_calibrated_statistics_are_exact_averages():
    torch.manual_seed(0)
    w = Width("w", (2, 4))
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    supernet = Supernet(model, {"0": Elastic(out=w), "1": Elastic(over=w)})
    batches = [torch.randn(5, 3), torch.randn(9, 3)]
    supernet.record_calibration([(b, torch.zeros(len(b))) for b in batches])
    overrides = supernet.calibrated_plan(supernet.smallest).overrides
    with torch.no_grad():
        seen = [nn.functional.linear(b, supernet.model[0].weight[:2], supernet.model[0].bias[:2]) for b in batches]
    mean = torch.stack([s.mean(0) for s in seen]).mean(0)
    var = torch.stack([s.var(0) for s in seen]).mean(0)
    np.testing.assert_allclose(overrides["1.running_mean"], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(overrides["1.running_var"], var, rtol=1e-5, atol=1e-6)
    assert supernet.plan(supernet.smallest).overrides == {}


def test_calibration_follows_the_weights(convnet_inputs):
    torch.manual_seed(0)
    supernet = ResidualConvNet.build(channels=1, classes=3, image_size=8).eval()
    supernet.record_calibration(convnet_inputs)
    first = supernet.calibrated_plan(supernet.smallest)
    assert supernet.calibrated_plan(supernet.smallest) is first
    with torch.no_grad():
        next(supernet.parameters()).mul_(2)
    second = supernet.calibrated_plan(supernet.smallest)
    assert not np.allclose(first.overrides["stem.1.running_mean"], second.overrides["stem.1.running_mean"])
    assert "stage1.2.bn1.running_mean" not in second.overrides  # the block does not run at the smallest depth


def test_calibration_refuses_what_cannot_be_averaged(convnet):
    with pytest.raises(InvalidData, match="at least one"):
        convnet.record_calibration([])
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    w = Width("w", (2, 4))
    supernet = Supernet(model, {"0": Elastic(out=w), "1": Elastic(over=w)})
    supernet.record_calibration([torch.ones(1, 3)])
    with pytest.raises(InvalidData, match="two or more samples"):
        supernet.extract(supernet.smallest)


# Relaxed decisions


class Tiny(nn.Module):
    """One of everything that a relaxation mixes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.depth = Depth("depth", [nn.Conv2d(4, 4, 1), Optional("skip", nn.Conv2d(4, 4, 1))], options=(0, 1, 2))
        self.switch = Switch("switch", {"tanh": nn.Tanh(), "conv": nn.Conv2d(4, 4, 1)})
        self.last = nn.Linear(4 * 9, 2)

    def forward(self, x):
        return self.last(self.switch(self.depth(torch.tanh(self.conv(x)))).flatten(1))


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    w = Width("w", (1, 2, 4))
    elastic = {"conv": Elastic(out=w, kernel=Kernel("k", (1, 3), "kernel_transform")), "last": Elastic(into=w * 9)}
    for name in ("depth.0", "depth.1.module", "switch.conv"):
        elastic[name] = Elastic(out=w, into=w)
    return Supernet(Tiny(), elastic).double()


def softmaxed(supernet, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = {
        c.name: torch.randn(len(c.options), generator=generator, dtype=torch.float64, requires_grad=True)
        for c in supernet.space.choices
    }
    return logits, {name: logit.softmax(0) for name, logit in logits.items()}


def test_sum_has_the_gradients_of_finite_differences(tiny):
    x = torch.randn(2, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    logits, _ = softmaxed(tiny)

    def output(*given):
        return tiny(x, arch=Relaxed({n: g.softmax(0) for n, g in zip(logits, given, strict=True)}))

    assert torch.autograd.gradcheck(output, tuple(logits.values()))
    output(*logits.values()).pow(2).sum().backward()
    assert all(logit.grad.abs().max() > 1e-8 for logit in logits.values())


def test_one_hot_is_the_architecture(tiny):
    x = torch.randn(2, 1, 3, 3, dtype=torch.float64)
    tiny.eval()
    for architecture in tiny.space.architectures(tiny.space.enumerate_rows()):
        found = tiny(x, arch=Relaxed.one_hot(tiny.space, architecture))
        torch.testing.assert_close(found, tiny(x, arch=architecture), rtol=1e-9, atol=1e-9)


def test_sampled_path_runs_one_architecture(tiny):
    x = torch.randn(2, 1, 3, 3, dtype=torch.float64)
    logits, probabilities = softmaxed(tiny, 3)
    drawn = Relaxed(probabilities, "sampled_path", np.random.default_rng(5)).draw(tiny.space)
    output = tiny(x, arch=Relaxed(probabilities, "sampled_path", np.random.default_rng(5)))
    torch.testing.assert_close(output, tiny(x, arch=drawn), rtol=1e-12, atol=1e-12)
    output.pow(2).sum().backward()
    for name in logits:
        active = drawn.get(name) is not None
        assert (logits[name].grad is not None and bool(logits[name].grad.abs().max() > 0)) == active, name


def test_sampled_path_draws_by_probability(tiny):
    _, probabilities = softmaxed(tiny)
    relaxed = Relaxed(probabilities, "sampled_path", np.random.default_rng(0))
    drawn = [relaxed.draw(tiny.space)["switch"] for _ in range(400)]
    assert drawn.count("conv") / 400 == pytest.approx(probabilities["switch"][1].item(), abs=0.08)


def test_weights_learn_through_a_relaxation(tiny):
    x = torch.randn(2, 1, 3, 3, dtype=torch.float64)
    with tiny.active(Relaxed.uniform(tiny.space)):
        tiny(x).sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().max() > 0) for p in tiny.parameters())


def test_relaxations_are_checked(tiny):
    good = dict(Relaxed.uniform(tiny.space).probabilities)
    with pytest.raises(InvalidOption, match="rng"):
        Relaxed(good, "sampled_path")
    with pytest.raises(UnknownName, match="no mixing is called"):
        Relaxed(good, "average")
    for changed, error in (
        ({"w": torch.ones(2) / 2}, InvalidArchitecture),
        ({"w": torch.tensor([0.2, 0.2, 0.2])}, InvalidArchitecture),
        ({"width": torch.ones(1)}, UnknownName),
    ):
        with pytest.raises(error), tiny.active(Relaxed({**good, **changed})):
            pass
    with pytest.raises(InvalidArchitecture, match="no probabilities"):
        tiny(torch.ones(1, 1, 3, 3), arch=Relaxed({"w": good["w"]}))


# The shipped network


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 4), (2, 32), (3, (64, 96)), (3, 224)])
def test_residual_convnet_takes_any_image(channels, size):
    supernet = ResidualConvNet.build(channels=channels, classes=7, image_size=size, depths=(1, 2)).eval()
    with torch.no_grad():
        for arch in (supernet.smallest, supernet.largest):
            assert supernet(*supernet.example_inputs, arch=arch).shape == (2, 7)


def test_residual_convnet_is_large_and_small():
    supernet = ResidualConvNet.build(channels=1, classes=10, image_size=8)
    assert supernet.space.size().value >= 10**6
    assert 100_000 <= sum(p.numel() for p in supernet.parameters()) <= 300_000
    network = supernet.extract(supernet.random(np.random.default_rng(0)))
    allowed = ("torch.nn.modules.", "archsmith.supernet.networks.residual_convnet")
    assert all(type(m).__module__.startswith(allowed) for m in network.modules())


@pytest.mark.parametrize(
    "wrong", [{"channels": 0}, {"image_size": 3}, {"kernels": (2,)}, {"depths": (0, 1)}, {"widths": ()}, {"classes": 0}]
)
def test_residual_convnet_refuses(wrong):
    options = {"channels": 1, "classes": 2, "image_size": 8, **wrong}
    with pytest.raises(InvalidOption):
        ResidualConvNet.build(**options)
