"""Every training method keeps the contract; and what each one's paper claims."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from archsmith import method
from archsmith.errors import InvalidOption
from archsmith.testing.trainers import TrainerConformance, blobs, tiny_supernet
from archsmith.training.kit.loop import train
from archsmith.training.plain import Plain
from archsmith.training.sandwich import Sandwich
from archsmith.training.single_path import SinglePath

EPOCHS = {"single_path": 25}

for _name in method.names("training"):
    _title = f"Test{_name.title().replace('_', '')}Conforms"
    globals()[_title] = type(_title, (TrainerConformance,), {"name": _name, "epochs": EPOCHS.get(_name, 12)})


def one_batch(chosen, supernet, *, loss=F.cross_entropy, seed=0):
    """What was run in one batch, and the losses."""
    inputs, targets = blobs(1)[0]
    ran = []

    def run(architecture):
        ran.append(architecture)
        return supernet(inputs, arch=architecture)

    supernet.zero_grad()
    losses = chosen.backward(
        supernet, run, targets, loss=loss, rng=np.random.default_rng(seed), scale=lambda value: value
    )
    return ran, losses


@pytest.fixture
def supernet():
    """In evaluation mode, so that equal calls give equal outputs."""
    return tiny_supernet().eval()


class TestSandwich:
    def test_largest_smallest_and_random(self, supernet):
        ran, losses = one_batch(Sandwich(random=3), supernet)
        rng = np.random.default_rng(0)
        assert ran == [supernet.largest, supernet.smallest, *(supernet.random(rng) for _ in range(3))]
        assert list(losses) == ["largest", "smallest", "random"]

    def test_pupils_imitate_the_largest_and_do_not_see_labels(self, supernet):
        inputs, targets = blobs(1)[0]
        _, losses = one_batch(Sandwich(random=0), supernet)
        gradient = supernet.get_parameter("model.6.weight").grad
        supernet.zero_grad()
        teacher = supernet(inputs, arch=supernet.largest)
        pupil = F.log_softmax(supernet(inputs, arch=supernet.smallest), 1)
        soft = teacher.detach().softmax(1)
        (F.cross_entropy(teacher, targets) + F.kl_div(pupil, soft, reduction="batchmean")).backward()
        torch.testing.assert_close(gradient, supernet.get_parameter("model.6.weight").grad)
        assert losses["smallest"] == pytest.approx(-(soft * pupil).sum(1).mean().item(), rel=1e-5)

    def test_temperature(self, supernet):
        inputs, _ = blobs(1)[0]
        _, losses = one_batch(Sandwich(random=0, temperature=3.0), supernet)
        soft = (supernet(inputs, arch=supernet.largest) / 3).softmax(1)
        pupil = (supernet(inputs, arch=supernet.smallest) / 3).log_softmax(1)
        assert losses["smallest"] == pytest.approx(-9 * (soft * pupil).sum(1).mean().item(), rel=1e-5)

    def test_other_losses_train_all_on_the_targets(self, supernet):
        def loss(outputs, targets):
            return F.multi_margin_loss(outputs, targets)

        inputs, targets = blobs(1)[0]
        _, losses = one_batch(Sandwich(random=0), supernet, loss=loss)
        expected = loss(supernet(inputs, arch=supernet.smallest), targets).item()
        assert losses["smallest"] == pytest.approx(expected, rel=1e-5)

    def test_own_distillation(self, supernet):
        inputs, _ = blobs(1)[0]
        _, losses = one_batch(Sandwich(random=0, distill=F.mse_loss), supernet)
        far = F.mse_loss(supernet(inputs, arch=supernet.smallest), supernet(inputs, arch=supernet.largest))
        assert losses["smallest"] == pytest.approx(far.item(), rel=1e-5)

    def test_small_subnets_gain_from_it(self):
        """The point of the rule: after plain training the smallest subnet guesses, after the sandwich it knows."""
        [(inputs, labels)] = blobs(1, 500, seed=1)
        found = {}
        for name in ("sandwich", "plain"):
            supernet = tiny_supernet()
            train(supernet, blobs(), method=name, epochs=12, lr=0.01)
            supernet.record_calibration(blobs())
            outputs = supernet.eval()(inputs, arch=supernet.smallest)
            found[name] = (outputs.argmax(1) == labels).float().mean().item()
        assert found["sandwich"] > 0.9
        assert found["sandwich"] > found["plain"] + 0.05

    @pytest.mark.parametrize("options", [{"random": -1}, {"temperature": 0.0}])
    def test_refused_options(self, options):
        with pytest.raises(InvalidOption, match=next(iter(options))):
            Sandwich(**options)


def test_single_path_runs_one_random_subnet_a_batch(supernet):
    drawn = [one_batch(SinglePath(), supernet, seed=seed)[0] for seed in range(40)]
    assert all(len(ran) == 1 for ran in drawn)
    assert len({ran[0].key for ran in drawn}) == 9  # all there are


def test_plain_trains_one_and_only_its_weights(supernet):
    assert one_batch(Plain(), supernet)[0] == [supernet.largest]
    ran, losses = one_batch(Plain(architecture=supernet.smallest), supernet)
    assert ran == [supernet.smallest]
    assert list(losses) == ["subnet"]
    gradient = supernet.get_parameter("model.0.weight").grad
    assert gradient[:8].abs().sum() > 0
    assert gradient[8:].abs().sum() == 0
