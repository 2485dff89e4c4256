"""Evaluators keep their contract, and each finds what it should."""

import functools
import math

import numpy as np
import pytest
import torch
from torch import nn

from archsmith.architecture import Proposal
from archsmith.candidates.files import Candidates
from archsmith.errors import EvaluationFailed, InvalidOption, MissingExtra
from archsmith.evaluator.accuracy import Accuracy, count_correct, wilson
from archsmith.evaluator.counts import Counts
from archsmith.evaluator.kit.composite import Composite
from archsmith.evaluator.latency import Latency
from archsmith.evaluator.user_metric import UserMetric
from archsmith.hardware import Meter, open_device
from archsmith.metric import Metric
from archsmith.progress import Reporter
from archsmith.supernet import Elastic, Supernet, Width
from archsmith.testing.evaluators import EvaluatorConformance
from archsmith.value import Value


class TestAccuracy(EvaluatorConformance):
    @pytest.fixture
    def evaluator(self, supernet, batches):
        return Accuracy(supernet, batches)

    def test_counts_what_the_extracted_network_gets_right(self, supernet, evaluator, batches):
        for arch in (supernet.smallest, supernet.largest):
            network = supernet.extract(arch)
            right = sum(int((network(x).argmax(1) == y).sum()) for x, y in batches)
            found = evaluator.measure(Proposal(arch), seed=0)["accuracy_top1"]
            assert found == Value(100 * right / 24, "measured")

    def test_fingerprint_follows_weights_data_and_calibration(self, supernet, evaluator, batches):
        before = evaluator.fingerprint
        assert Accuracy(supernet, batches[:2]).fingerprint != before
        supernet.record_calibration(batches[:1])
        assert evaluator.fingerprint != before
        supernet.record_calibration(batches)
        assert evaluator.fingerprint == before
        with torch.no_grad():
            next(supernet.parameters()).add_(1)
        assert evaluator.fingerprint != before

    def test_outputs_that_are_not_finite_fail(self, supernet, batches):
        with torch.no_grad():
            next(supernet.parameters()).fill_(math.nan)
        with pytest.raises(EvaluationFailed, match="not finite"):
            Accuracy(supernet, batches).measure(Proposal(supernet.smallest), seed=0)

    def test_the_test_split_carries_an_interval(self, supernet, batches):
        found = Accuracy.on_test(supernet, batches).measure(Proposal(supernet.largest), seed=0)["test_accuracy_top1"]
        assert 0 <= found.low < found.value < found.high <= 100

    def test_an_empty_split_fails(self):
        with pytest.raises(EvaluationFailed, match="empty"):
            count_correct(nn.Identity(), [])

    def test_inputs_may_be_named(self):
        class Named(nn.Module):
            def forward(self, *, x, shift):
                return x + shift

        batch = {"x": torch.eye(3), "shift": torch.zeros(3)}
        assert count_correct(Named(), [(batch, torch.arange(3))]) == (3, 3)


class TestCounts(EvaluatorConformance):
    @pytest.fixture
    def evaluator(self, supernet):
        return Counts(supernet)

    def test_counts_by_hand(self, supernet, evaluator):
        found = evaluator.measure(Proposal(supernet.smallest), seed=0)
        conv, norm, linear = 4 * 3 * 9 + 4, 4 + 4, 4 * 4 + 4
        assert found["params"] == Value(conv + norm + linear, "computed")
        assert found["macs"] == Value(16 * 4 * 27 + 4 * 4, "computed")  # 4 x 4 outputs of the convolution


class TestLatency(EvaluatorConformance):
    @pytest.fixture(params=["torch_cpu:batch=8", "onnxruntime:batch=8"])
    def evaluator(self, request, supernet, clock):
        with Meter(open_device(request.param), anchor_ms=1.0) as meter:
            yield Latency(supernet, meter)

    def test_is_measured_with_an_interval(self, supernet, evaluator):
        found = evaluator.measure(Proposal(supernet.largest), seed=0)["latency_ms"]
        assert found.source == "measured"
        assert found.has_interval
        assert evaluator.last.latency_ms == found.value

    def test_the_metric_may_name_its_device(self, supernet, evaluator):
        named = Latency(supernet, evaluator._meter, metric="latency_ms@board")
        assert named.metrics[0].name == "latency_ms@board"
        assert named.fingerprint != evaluator.fingerprint
        assert Latency(supernet, evaluator._meter, effort="final").fingerprint != evaluator.fingerprint


class TestUserMetric(EvaluatorConformance):
    @pytest.fixture
    def evaluator(self, supernet):
        return UserMetric("weights", lambda net: sum(p.numel() for p in net.parameters()), goal="min").bind(supernet)

    def test_sees_the_extracted_network(self, supernet, evaluator):
        found = evaluator.measure(Proposal(supernet.smallest), seed=0)["weights"].value
        assert found == sum(p.numel() for p in supernet.extract(supernet.smallest).parameters())

    def test_its_version_is_part_of_its_fingerprint(self, supernet):
        def one(net):
            return 1.0

        made = [UserMetric("one", one, version=v).bind(supernet).fingerprint for v in ("1", "2", "1")]
        assert made[0] == made[2] != made[1]

    def test_of_network_and_data(self, supernet, batches):
        def right(network, given):
            return sum(int((network(x).argmax(1) == y).sum()) for x, y in given)

        metric = UserMetric("right", right, on_data=True)
        found = metric.bind(supernet, batches).measure(Proposal(supernet.smallest), seed=0)["right"].value
        accuracy = Accuracy(supernet, batches).measure(Proposal(supernet.smallest), seed=0)["accuracy_top1"].value
        assert accuracy == 100 * found / 24
        fingerprints = [metric.bind(supernet, data).fingerprint for data in (batches, batches[:2], list(batches))]
        assert fingerprints[0] == fingerprints[2] != fingerprints[1]
        with pytest.raises(InvalidOption, match="metric 'right' is a function of the data, which are not at hand"):
            metric.bind(supernet)

    def test_functions_without_a_name(self, supernet):
        metric = UserMetric("partial", functools.partial(lambda net, value: value, value=2.0)).bind(supernet)
        assert metric.measure(Proposal(supernet.smallest), seed=0)["partial"].value == 2
        assert len(metric.fingerprint) == 16

    def test_unbound_or_misdirected_is_refused(self, supernet):
        with pytest.raises(InvalidOption, match="bind"):
            UserMetric("m", lambda _: 1.0).measure(Proposal(supernet.smallest), seed=0)
        with pytest.raises(InvalidOption, match="'max' or 'min'"):
            UserMetric("m", lambda _: 1.0, goal="up")


def raising(error):
    def function(_):
        raise error

    return function


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda _: math.nan, "nan"),
        (lambda _: math.inf, "inf"),
        (raising(ValueError("no such class")), "ValueError: no such class"),
        (raising(TimeoutError("took too long")), "TimeoutError: took too long"),
        (raising(MemoryError()), "out of memory"),
        (raising(EvaluationFailed("the board is off")), "the board is off"),
    ],
)
def test_what_goes_wrong_becomes_a_failed_evaluation(supernet, function, reason):
    evaluate = Composite([UserMetric("m", function).bind(supernet), Counts(supernet)])
    found = evaluate(Proposal(supernet.smallest))
    assert found.status == "failed"
    assert reason in found.reason
    assert not found.values


def test_what_the_user_must_mend_is_not_blamed_on_an_architecture(supernet):
    with pytest.raises(MissingExtra, match="pip install"):
        Composite([UserMetric("m", raising(MissingExtra("pip install 'archsmith[onnx]'"))).bind(supernet)])(
            Proposal(supernet.smallest)
        )


def test_a_metric_can_come_from_one_evaluator_only(supernet):
    with pytest.raises(InvalidOption, match="macs"):
        Composite([Counts(supernet), UserMetric("macs", lambda _: 1.0).bind(supernet)])


def test_a_missing_value_is_a_failure(supernet):
    class Forgetful(type(Counts(supernet)).__mro__[1]):
        paper, depends_on, fingerprint = None, "function", "0" * 16
        metrics = (Metric("lost", "1", "max"),)

        def measure(self, proposal, *, seed):
            return {}

    assert "gave no lost" in Composite([Forgetful()])(Proposal(supernet.smallest)).reason


@pytest.mark.parametrize(("right", "total"), [(0, 10), (10, 10), (360, 360), (7, 13)])
def test_wilson_intervals_hold_the_share_and_stay_within_bounds(right, total):
    low, high = wilson(right, total)
    assert -1e-9 <= low <= 100 * right / total <= high <= 100 + 1e-9
    assert high - low > 0.5


class TestCandidates:
    """How subnets get onto a device."""

    @pytest.fixture
    def device(self):
        return open_device("onnxruntime:batch=3")

    def test_subnets_are_cut_out_of_one_file(self, supernet, device, monkeypatch):
        """Once it is learnt, nothing is exported, and the call computes what the extracted network does."""
        candidates = Candidates(supernet, device)
        candidates.call(supernet.largest)
        monkeypatch.setattr(torch.onnx, "export", None)
        images = torch.zeros(3, 3, 6, 6)
        for arch in (supernet.smallest, supernet.largest):
            with torch.no_grad():
                expected = supernet.extract(arch)(images).numpy()
            np.testing.assert_allclose(candidates.call(arch)()[0], expected, rtol=1e-4, atol=1e-6)
        assert candidates.reason == ""

    def test_devices_of_one_batch_learn_it_together(self, supernet, device, monkeypatch):
        learnt = {}
        first = Candidates(supernet, device, learnt=learnt).content(supernet.smallest)
        monkeypatch.setattr(torch.onnx, "export", None)
        again = Candidates(supernet, open_device("openvino:batch=3"), learnt=learnt).content(supernet.smallest)
        assert again == first

    def test_what_cannot_be_cut_is_exported_and_said_once(self, device):
        class Odd(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.second = nn.Linear(4, 24), nn.Linear(24, 3)

            def forward(self, x):
                x = self.first(x)
                return self.second(x * float(x.shape[1] ** 3 % 7 + 1))

        width = Width("width", tuple(range(3, 25)))
        elastic = {"first": Elastic(out=width), "second": Elastic(into=width)}
        supernet = Supernet(Odd(), elastic, example_inputs=(torch.ones(3, 4),)).eval()
        said = []
        candidates = Candidates(supernet, device, reporter=Reporter(on_note=said.append))
        for arch in (supernet.smallest, supernet.largest):
            with torch.no_grad():
                expected = supernet.extract(arch)(torch.ones(3, 4)).numpy()
            np.testing.assert_allclose(candidates.call(arch)()[0], expected, rtol=1e-4, atol=1e-5)
        assert len(said) == 1
        assert "exported by itself" in said[0]
        assert "follows no size" in said[0]

    def test_devices_that_run_modules_get_them(self, supernet):
        candidates = Candidates(supernet, open_device("torch_cpu:batch=3"))
        assert candidates.call(supernet.smallest)().shape == (3, 4)
        assert candidates.reason == ""
