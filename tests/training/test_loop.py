"""The loop that all training methods share: options, loaders, losses, progress, stopping, reproducibility."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from archsmith.data import open_data
from archsmith.errors import InvalidData, InvalidOption, TrainingDiverged, UnknownName
from archsmith.supernet import Elastic, Supernet, Width
from archsmith.testing.trainers import blobs, tiny_supernet
from archsmith.training.kit.batch import Precision, TrainingBatch
from archsmith.training.kit.loop import train
from archsmith.training.kit.optimizer import DEFAULTS, Schedule


class TestProgress:
    def test_one_event_a_step(self):
        events = []
        report = train(tiny_supernet(), blobs(4), epochs=3, on_progress=events.append)
        assert [(e.epoch, e.step) for e in events] == [(epoch, step) for epoch in (1, 2, 3) for step in (1, 2, 3, 4)]
        assert all((e.epochs, e.steps) == (3, 4) for e in events)
        assert events[-1].remaining_s == 0
        assert all(a.elapsed_s <= b.elapsed_s for a, b in itertools.pairwise(events))
        assert set(events[0].losses) == {"largest", "smallest", "random"}
        with pytest.raises(dataclasses.FrozenInstanceError):
            events[0].epoch = 3
        last = report.history[-1]
        assert last["epoch"] == 3
        assert last["loss_largest"] == events[-1].losses["largest"]
        assert sum(row["seconds"] for row in report.history) <= report.seconds

    def test_stop_goes_back_to_the_last_epoch(self, tmp_path):
        whole = tiny_supernet()
        train(whole, blobs(), epochs=2, warmup_epochs=0, optimizer="sgd")
        supernet, asked = tiny_supernet(), []
        report = train(
            supernet,
            blobs(),
            epochs=2,
            optimizer="sgd",
            warmup_epochs=0,
            checkpoint=tmp_path / "c",
            stop=lambda: asked.append(1) or len(asked) == 9,
        )
        assert not report.completed
        assert report.epochs == len(report.history) == 1
        again = train(supernet, blobs(), epochs=2, optimizer="sgd", warmup_epochs=0, checkpoint=tmp_path / "c")
        assert (again.completed, again.resumed_from) == (True, 1)
        assert supernet.weights_fingerprint == whole.weights_fingerprint

    def test_stop_before_the_first_epoch_ends_changes_nothing(self):
        supernet = tiny_supernet()
        before = supernet.weights_fingerprint
        report = train(supernet, blobs(), stop=lambda: True)
        assert (report.completed, report.epochs, report.history) == (False, 0, ())
        assert supernet.weights_fingerprint == before


class TestLoaders:
    def test_data_loader_with_a_sampler_that_is_told_the_epoch(self):
        class Sampler:
            def __init__(self):
                self.epochs = []

            def set_epoch(self, epoch):
                self.epochs.append(epoch)

            def __iter__(self):
                return iter(range(32))

            def __len__(self):
                return 32

        dataset = TensorDataset(torch.randn(32, 4), torch.arange(32) % 3)
        sampler = Sampler()
        train(tiny_supernet(), DataLoader(dataset, batch_size=16, sampler=sampler), epochs=3)
        assert sampler.epochs == [0, 1, 2]

    def test_shuffling_by_torch_is_reproducible_too(self):
        dataset = TensorDataset(*blobs(1, 64)[0])
        fingerprints = set()
        for _ in range(2):
            supernet = tiny_supernet()
            train(supernet, DataLoader(dataset, batch_size=16, shuffle=True), epochs=2)
            fingerprints.add(supernet.weights_fingerprint)
        assert len(fingerprints) == 1

    def test_without_a_length(self):
        class Endless:
            def __iter__(self):
                return iter(blobs(3))

        events = []
        train(tiny_supernet(), Endless(), epochs=2, on_progress=events.append)
        assert [e.steps for e in events] == [3] * 6

    @pytest.mark.parametrize("form", ["dict", "tuple"])
    def test_several_inputs(self, form):
        class Two(nn.Module):
            def __init__(self):
                super().__init__()
                self.hidden, self.net = nn.Linear(8, 12), nn.Linear(12, 3)

            def forward(self, left, right):
                return self.net(self.hidden(torch.cat([left, right], 1)).relu())

        width = Width("width", (6, 12))
        supernet = Supernet(Two(), {"hidden": Elastic(out=width), "net": Elastic(into=width)})
        batches = [({"right": x, "left": -x} if form == "dict" else (-x, x), y) for x, y in blobs()]
        report = train(supernet, batches, method="plain", epochs=8, lr=0.02)
        assert report.history[-1]["loss_largest"] < 0.6 * report.history[0]["loss_largest"]

    @pytest.mark.parametrize(
        ("loader", "message"),
        [
            ([], "the loader is empty"),
            (None, "the loader must give batches .* got None"),
            ([torch.zeros(3, 4)], r"yields a Tensor of 3; each batch must be a pair \(inputs, targets\)"),
            ([(torch.zeros(3, 4), torch.zeros(3), torch.zeros(3))], "tuple of 3"),
            ([5], "yields a int"),
            (iter(blobs()), "list_iterator, which can be read only once"),
            (
                [(torch.zeros(3, 4), torch.tensor([0, 1, 3]))],
                r"label 3 has no output: the network has 3, for",
            ),
            ([(torch.zeros(3, 4), torch.tensor([0, 1, -1]))], "label -1 has no output"),
            ([(torch.zeros(3, 4), torch.zeros(3))], r"labels are torch.float32 \(3,\)"),
            ([(torch.zeros(3, 4), torch.zeros(2, dtype=torch.long))], r"need integers of the shape \(3,\)"),
            ([(torch.zeros(3, 4), "abc")], "got torch.float32 .* and a str"),
        ],
    )
    def test_refused(self, loader, message):
        supernet = tiny_supernet()
        before = {name: p.detach().clone() for name, p in supernet.named_parameters()}
        with pytest.raises(InvalidData, match=message):
            train(supernet, loader, method="plain")
        assert all(p.grad is None for p in supernet.parameters())
        assert all(torch.equal(p, before[name]) for name, p in supernet.named_parameters())

    def test_a_loader_that_runs_dry(self):
        class Once:
            batches = blobs(2)

            def __len__(self):
                return 2

            def __iter__(self):
                batches, self.batches = self.batches, []
                return iter(batches)

        loader = Once()
        iter(loader)  # whoever looked before us
        with pytest.raises(InvalidData, match="no batch in epoch 1"):
            train(tiny_supernet(), loader)


class TestLosses:
    def test_probabilities_and_ignored_labels(self):
        soft = [(x, F.one_hot(y, 3).float()) for x, y in blobs(2)]
        hidden = [(x, torch.where(y == 1, -100, y)) for x, y in blobs(2)]
        for loader in (soft, hidden):
            assert train(tiny_supernet(), loader, epochs=1).completed
        own = [(x, torch.where(y == 1, 255, y)) for x, y in blobs(2)]
        assert train(tiny_supernet(), own, epochs=1, loss=nn.CrossEntropyLoss(ignore_index=255)).completed

    @pytest.mark.parametrize(
        ("loss", "message"),
        [
            (lambda o, t: o.mean(1), r"the loss gave \(32,\) instead of one number"),
            (lambda o, t: 3.0, "the loss gave float"),
            (lambda o, t: o.detach().mean(), "does not depend on the weights"),
        ],
    )
    def test_refused(self, loss, message):
        with pytest.raises(InvalidOption, match=message):
            train(tiny_supernet(), blobs(), loss=loss)

    def test_divergence_names_where_and_keeps_the_last_epoch(self, tmp_path):
        batches = blobs()

        class PoisonedInTheThirdEpoch(list):
            epoch = 0

            def set_epoch(self, epoch):
                self.epoch = epoch

            def __iter__(self):
                for i, (x, y) in enumerate(batches):
                    yield (x * math.inf if (self.epoch, i) == (2, 3) else x), y

        two, supernet = tiny_supernet(), tiny_supernet()
        train(two, PoisonedInTheThirdEpoch(batches), epochs=8, stop=_after(12))
        with pytest.raises(TrainingDiverged) as error:
            train(supernet, PoisonedInTheThirdEpoch(batches), epochs=8, checkpoint=tmp_path)
        message = str(error.value)
        assert "epoch 3, step 4 of 6 (subnet: largest nan" in message
        assert f"weights after epoch 2, also in {tmp_path / 'checkpoint.safetensors'}" in message
        assert supernet.weights_fingerprint == two.weights_fingerprint


def _after(steps):
    """Stops in the first step after so many."""
    done = iter(range(10**6))
    return lambda: next(done) >= steps


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "kind", "message"),
        [
            ({"epochs": 0}, InvalidOption, "epochs must be a whole number from 1 on, got 0"),
            ({"epochs": "1"}, InvalidOption, "epochs must be a whole number from 1 on, got '1'"),
            ({"seed": -1}, InvalidOption, "seed must be a whole number from 0 on, got -1"),
            ({"lr": "big"}, InvalidOption, "lr must be a number, got 'big'"),
            ({"clip_norm": "x"}, InvalidOption, "clip_norm must be a number"),
            ({"lr": 0.0}, InvalidOption, "lr must be above 0"),
            ({"lr": math.nan}, InvalidOption, "lr must be above 0"),
            ({"weight_decay": -1.0}, InvalidOption, "weight_decay"),
            ({"warmup_epochs": -1}, InvalidOption, "warmup_epochs"),
            ({"clip_norm": 0.0}, InvalidOption, "clip_norm"),
            ({"seed": -1}, InvalidOption, "seed"),
            (
                {"amp": True},
                InvalidOption,
                "mixed precision .* is for CUDA devices; the supernet is on cpu.*amp='bf16'",
            ),
            ({"amp": "fp8"}, InvalidOption, "amp is True, False, None or 'bf16', got 'fp8'"),
            ({"device": "cuda:99"}, InvalidOption, "cannot train on device='cuda:99'"),
            ({"device": "gpu"}, InvalidOption, "cannot train on device='gpu'"),
            ({"optimizer": "adam"}, UnknownName, "did you mean 'adamw'"),
            ({"method": "sandwitch"}, UnknownName, "did you mean 'sandwich'"),
            ({"options": {"randoms": 1}}, InvalidOption, "no option randoms; it has: random, temperature, distill"),
        ],
    )
    def test_refused(self, options, kind, message):
        with pytest.raises(kind, match=message):
            train(tiny_supernet(), blobs(1), **options)

    def test_nothing_to_learn(self):
        supernet = tiny_supernet().requires_grad_(requires_grad=False)
        with pytest.raises(InvalidOption, match="every requires_grad is False"):
            train(supernet, blobs(1))

    def test_frozen_weights_stay(self):
        supernet = tiny_supernet()
        frozen = supernet.get_parameter("model.0.weight").requires_grad_(requires_grad=False).clone()
        train(supernet, blobs(2), epochs=2)
        assert torch.equal(frozen, supernet.get_parameter("model.0.weight"))

    @pytest.mark.parametrize("optimizer", sorted(DEFAULTS))
    def test_optimisers_learn_with_their_defaults(self, optimizer):
        report = train(tiny_supernet(), blobs(), epochs=12, optimizer=optimizer)
        assert report.history[-1]["loss_largest"] < 0.6 * report.history[0]["loss_largest"]

    def test_weight_decay_spares_biases_and_norms(self):
        supernet = tiny_supernet()
        before = {name: p.detach().clone() for name, p in supernet.named_parameters()}
        loader = [(torch.zeros(4, 4), torch.zeros(4, 3))]
        train(
            supernet,
            loader,
            method="plain",
            optimizer="sgd",
            epochs=1,
            lr=0.1,
            weight_decay=0.5,
            warmup_epochs=0,
            loss=lambda outputs, _: 0 * outputs.sum(),
        )  # decay is all that happens
        for name, p in supernet.named_parameters():
            torch.testing.assert_close(p, before[name] * (1 - 0.1 * 0.5 * 1.9 if p.ndim > 1 else 1))  # 1.9: Nesterov

    def test_clipping_bounds_the_step(self):
        supernet = tiny_supernet()
        before = [p.detach().clone() for p in supernet.parameters()]
        loader = [(1000 * x, y) for x, y in blobs(1)]
        train(
            supernet,
            loader,
            method="plain",
            optimizer="sgd",
            epochs=1,
            lr=1.0,
            weight_decay=0,
            warmup_epochs=0,
            clip_norm=0.01,
        )
        moved = sum((p - q).square().sum() for p, q in zip(supernet.parameters(), before, strict=True)).sqrt()
        assert 0 < moved <= 0.0191  # Nesterov's first step is 1 + momentum as long

    def test_schedule_rises_and_falls(self):
        schedule = Schedule(lr=2.0, warmup=4, steps=20)
        rates = [schedule.at(step) for step in range(20)]
        assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
        assert rates[4] == 2.0
        assert rates[12] == pytest.approx(1.0)
        assert all(a > b for a, b in itertools.pairwise(rates[4:]))
        assert 0 < rates[-1] < 0.05


def test_mixed_precision_computes_low_and_compares_in_single():
    """On a processor, where bfloat16 works too, since test machines have no GPU."""
    supernet, device = tiny_supernet().eval(), torch.device("cpu")
    [(inputs, targets)] = blobs(1)
    seen = []
    supernet.get_submodule("model.0").register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    run = TrainingBatch.of((inputs, targets), device).runner(supernet, device, Precision(torch.bfloat16))
    outputs = run(supernet.largest)
    assert seen == [torch.bfloat16]
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, supernet(inputs), rtol=0.05, atol=0.05)
    F.cross_entropy(outputs, targets).backward()
    assert supernet.get_parameter("model.0.weight").grad.dtype == torch.float32


def test_the_users_own_loop():
    """What the README promises to those who keep their loop: sample, call, step."""
    supernet, rng = tiny_supernet(), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(supernet.parameters(), lr=0.01)
    losses, drawn = [], set()
    supernet.train()
    for _ in range(25):
        for inputs, targets in blobs():
            with supernet.sampled(rng) as arch:
                loss = F.cross_entropy(supernet(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            drawn.add(arch.key)
    assert len(drawn) == 9
    assert np.mean(losses[-6:]) < 0.6 * np.mean(losses[:6])


def test_bfloat16_on_the_processor():
    """The forward pass is in bfloat16, weights and losses stay in single precision, and it learns as well."""
    supernet, seen = tiny_supernet(), []

    def loss(outputs, targets):
        seen.append(outputs.dtype)
        return F.cross_entropy(outputs, targets)

    hooked = supernet.get_submodule("model.0").register_forward_hook(lambda *_: seen.append(_[-1].dtype))
    train(supernet, blobs(2), epochs=1, amp="bf16", loss=loss)
    hooked.remove()
    assert set(seen) == {torch.bfloat16, torch.float32}
    assert {p.dtype for p in supernet.parameters()} == {torch.float32}
    report = train(tiny_supernet(), blobs(), epochs=12, amp="bf16")
    assert report.history[-1]["loss_largest"] < 0.6 * report.history[0]["loss_largest"]


@pytest.mark.slow
def test_digits():
    """Five epochs on 900 real images teach the largest network and the smallest; chance is 10 %."""
    from archsmith.supernet.networks.residual_convnet import ResidualConvNet

    data = open_data("digits", limit=900)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        supernet = ResidualConvNet.build(
            channels=1, classes=10, image_size=8, widths=((8, 12), (12, 16)), depths=(1, 2)
        )
    train(supernet, data.batches("train", 64, shuffle=True), epochs=5, lr=0.01)
    supernet.eval().record_calibration(list(data.batches("train", 256)))

    def accuracy(arch):
        with torch.no_grad():
            right = sum((supernet(x, arch=arch).argmax(1) == y).sum().item() for x, y in data.batches("val", 256))
        return 100 * right / len(data.val)

    assert accuracy(supernet.largest) > 90
    assert accuracy(supernet.smallest) > 60
