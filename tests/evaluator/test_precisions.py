"""Precisions as choices beside those of a supernet: the joint space, the files, and what is judged on them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import archsmith as smith
from archsmith.architecture import Proposal
from archsmith.candidates.files import Candidates
from archsmith.candidates.precisions import JointSpace, Precisions, block_of, layers_of
from archsmith.candidates.quantised_files import QuantisedFiles, calibration_calls
from archsmith.errors import EvaluationFailed, InvalidModel, InvalidOption, UnknownName
from archsmith.evaluator.accuracy import Accuracy, count_correct
from archsmith.evaluator.file_size import FileSize
from archsmith.evaluator.latency import Latency
from archsmith.evaluator.peak_memory import PeakMemory
from archsmith.evaluator.user_metric import UserMetric
from archsmith.export.onnx_tools.quantising import is_quantised
from archsmith.hardware import Meter, open_device
from archsmith.testing.evaluators import EvaluatorConformance

INT8 = Precisions(options=("int8",))
BOTH = Precisions()


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        return x + self.two(torch.relu(self.one(x)))


@pytest.fixture(scope="module")
def deep():
    """Blocks of which one to three run, of widths that vary inside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.Sequential(Residual(), Residual(), Residual()), nn.Flatten(), nn.Linear(128, 4)
        )
    images = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    made = smith.elastic(model, images, depth=0.3)
    made.record_calibration([images, 2 * images])
    return made


@pytest.fixture(scope="module")
def joint(deep):
    return JointSpace.of(deep, BOTH)


def files_of(supernet, wanted=INT8, device="onnxruntime:batch=4"):
    found = open_device(device)
    return QuantisedFiles(JointSpace.of(supernet, wanted), Candidates(supernet, found), weight_bits=found.weight_bits)


class TestJointSpace:
    def test_a_choice_for_every_layer_owned_by_the_device(self, deep, joint):
        assert [c.name for c in joint.choices] == [f"{layer}.precision" for layer in layers_of(deep)]
        assert {c.owner for c in joint.choices} == {"device"}
        assert {c.owner for c in joint.space.choices} == {"device", "supernet"}
        assert joint.space.choices[: len(deep.space.choices)] == deep.space.choices

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 10_000))
    def test_splitting_gives_what_was_joined(self, deep, joint, seed):
        arch = joint.space.sample(1, np.random.default_rng(seed))[0]
        own, policy = joint.split(arch)
        assert deep.space.contains(own)
        assert {n: v for n, v in arch.to_dict().items() if n in deep.space.names} == own.to_dict()
        for name, value in arch.to_dict().items():
            if name.endswith(".precision"):
                assert policy.of(name.removesuffix(".precision")) == value
        for precision in ("fp32", "int8"):
            again, same = joint.split(joint.join(own, precision))
            assert again == own
            assert {*same.by.values()} == {precision}

    def test_a_layer_that_does_not_run_has_no_precision(self, deep, joint):
        for seed in range(20):
            arch = joint.space.sample(1, np.random.default_rng(seed))[0]
            own, _ = joint.split(arch)
            running = {name for name, _ in deep.extract(own).named_modules()}
            chosen = {n.removesuffix(".precision") for n in arch.to_dict() if n.endswith(".precision")}
            assert chosen == {layer for layer in layers_of(deep) if layer in running}

    def test_one_choice_a_block(self, deep):
        per_block = JointSpace.of(deep, Precisions(per="block"))
        names = ["0", "1.0", "1.1", "1.2", "3"]
        assert [c.name for c in per_block.choices] == [f"{name}.precision" for name in names]
        _, policy = per_block.split(per_block.join(deep.largest, "int8"))
        assert policy.of("1.2.two") == "int8"

    def test_layers_that_are_kept_and_layers_that_cannot(self, deep):
        found = JointSpace.of(deep, Precisions(options=("fp32", "int4", "int8"), keep=("0", "1.*.one")))
        assert found.fixed == {"0": "fp32", "1.0.one": "fp32", "1.1.one": "fp32", "1.2.one": "fp32"}
        assert {c.options for c in found.choices} == {("fp32", "int8")}
        with pytest.raises(UnknownName, match="no layer is called 'head'"):
            JointSpace.of(deep, Precisions(keep=("head",)))
        with pytest.raises(InvalidModel, match="no layer of this network can be in int4"):
            JointSpace.of(deep, Precisions(options=("int4",)))

    def test_one_precision_is_no_choice(self, deep):
        whole = JointSpace.of(deep, INT8)
        assert whole.space == deep.space
        assert whole.split(deep.largest)[0] == deep.largest
        assert {*whole.fixed.values()} == {"int8"}

    def test_comes_back_from_plain_data(self, deep, joint):
        again = JointSpace.from_json(deep.space, joint.to_json())
        assert again.space == joint.space
        assert again == joint

    @pytest.mark.parametrize(
        ("layer", "block"),
        [
            ("layers.11.mlp.up_proj", "layers.11"),
            ("features.3.block.0.0", "features.3.block.0"),
            ("fc", "fc"),
        ],
    )
    def test_blocks_by_name(self, layer, block):
        assert block_of(layer) == block


class TestPrecisions:
    def test_what_is_given(self):
        assert Precisions.of("int8, fp32") == BOTH
        assert Precisions.of(["int4"]).options == ("int4",)
        assert Precisions.of(BOTH) is BOTH
        assert Precisions.of(()) is Precisions.of("fp32") is Precisions.of(None) is None

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"options": ("int9",)}, "no precision of layers is called 'int9'; did you mean 'int8'"),
            ({"options": ("bf16",)}, "bf16 is a precision of whole networks"),
            ({"options": ()}, "needs one at least"),
            ({"options": "int8"}, "tuple of texts"),
            ({"per": "stage"}, "per='stage' of precisions must be one of layer, block"),
            ({"ranges": "mse"}, "ranges='mse' of precisions must be one of minmax, percentile"),
            ({"items": 0}, "items=0 of precisions must be a whole number from 1 on"),
        ],
    )
    def test_what_is_refused(self, wrong, said):
        with pytest.raises((InvalidOption, UnknownName), match=said):
            Precisions(**wrong)

    def test_devices_say_what_they_can(self):
        BOTH.check({"": open_device("onnxruntime")})
        with pytest.raises(InvalidOption, match="torch_cpu:threads=1,batch=1 cannot run single layers in int8"):
            BOTH.check({"a": open_device("onnxruntime"), "b": open_device("torch_cpu")})


class TestFiles:
    def test_those_without_quantised_layers_are_the_candidates_own(self, deep):
        files = files_of(deep, BOTH)
        arch = files.joint.join(deep.largest)
        assert files.content(arch) == files.candidates.content(deep.largest)
        assert not is_quantised(files.content(arch))
        assert is_quantised(files.content(files.joint.join(deep.largest, "int8")))

    def test_the_network_of_a_file_is_near_that_of_the_supernet(self, deep):
        files = files_of(deep)
        [(inputs, _)] = [(batch.inputs[0], None) for batch in deep.calibration[:1]]
        for arch in (deep.largest, deep.smallest):
            with torch.no_grad():
                right = deep(inputs, arch=arch) if not deep.training else deep.eval()(inputs, arch=arch)
            found = files.network(arch)(inputs)
            assert 0 < float((right - found).abs().max() / right.abs().max()) < 0.1

    def test_no_calibration_data(self, deep):
        bare = smith.elastic(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)), torch.zeros(1, 8))
        with pytest.raises(InvalidOption, match="pass calibration=train_loader"):
            files_of(bare)

    def test_calibration_comes_in_calls_of_the_batch(self, deep):
        calls = list(calibration_calls(deep, deep.largest, 3, 4))
        assert [x.shape[0] for (x,) in calls] == [3, 3]
        assert torch.equal(calls[0][0][:2], deep.calibration[0].inputs[0])

    def test_data_of_another_shape_is_refused_at_once(self, deep):
        files = files_of(deep)
        files.check([(torch.zeros(5, 3, 6, 6), None)])
        with pytest.raises(InvalidOption, match=r"of shape \(batch, 3, 6, 6\).*have \(batch, 3, 8, 8\)"):
            files.check([(torch.zeros(5, 3, 8, 8), None)])

    def test_a_file_that_cannot_be_quantised_fails_its_evaluation(self, deep, monkeypatch):
        files = files_of(deep)
        monkeypatch.setattr("archsmith.export.onnx_tools.quantising._in_eight_bits", lambda *_: 1 / 0)
        with pytest.raises(EvaluationFailed, match="cannot be quantised: division by zero"):
            files.content(deep.largest)


class TestFileAccuracy(EvaluatorConformance):
    @pytest.fixture
    def evaluator(self, supernet, batches):
        return Accuracy(supernet, batches, files=files_of(supernet))

    def test_is_that_of_the_file(self, supernet, batches, evaluator):
        right, total = count_correct(files_of(supernet).network(supernet.largest), batches)
        found = evaluator.measure(Proposal(supernet.largest), seed=0)["accuracy_top1"]
        assert found.value == 100 * right / total

    def test_without_quantised_layers_it_is_that_of_the_supernet(self, supernet, batches):
        files = files_of(supernet, BOTH)
        plain = Accuracy(supernet, batches).measure(Proposal(supernet.largest), seed=0)
        assert (
            Accuracy(supernet, batches, files=files).measure(Proposal(files.joint.join(supernet.largest)), seed=0)
            == plain
        )

    def test_other_quantisation_is_another_evaluator(self, supernet, batches):
        kinds = [INT8, BOTH, Precisions(options=("int8",), ranges="percentile"), Precisions(options=("int8",), items=8)]
        assert len({Accuracy(supernet, batches, files=files_of(supernet, kind)).fingerprint for kind in kinds}) == len(
            kinds
        )


class TestOthers:
    def test_the_quantised_file_is_smaller_and_is_what_memory_is_measured_of(self, deep):
        files = files_of(deep, BOTH)
        sizes = [
            FileSize(deep, files).measure(Proposal(files.joint.join(deep.largest, p)), seed=0)["size_mib"].value
            for p in ("fp32", "int8")
        ]
        assert sizes[1] == len(files.content(files.joint.join(deep.largest, "int8"))) / 2**20
        memory = PeakMemory(deep, open_device("onnxruntime:batch=4"), files=files)
        assert memory.measure(Proposal(files.joint.join(deep.largest, "int8")), seed=0)["peak_memory_mib"].value > 0
        assert FileSize(deep, files).fingerprint != FileSize(deep).fingerprint

    def test_latency_is_that_of_the_quantised_file(self, deep):
        files = files_of(deep, BOTH)
        with Meter(files.candidates.device) as meter:
            latency = Latency(deep, meter, candidates=files)
            found = latency.measure(Proposal(files.joint.join(deep.largest, "int8")), seed=0)["latency_ms"]
            assert latency.fingerprint != Latency(deep, meter).fingerprint
        assert found.source == "measured"

    def test_metrics_of_the_user_get_the_quantised_network(self, deep):
        files = files_of(deep)
        inputs = deep.calibration[0].inputs[0]
        seen = []
        metric = UserMetric("mine", lambda network: float(seen.append(network(inputs)) or 1.0)).bind(deep, files=files)
        metric.measure(Proposal(deep.largest), seed=0)
        assert torch.equal(seen[0], files.network(deep.largest)(inputs))
        assert metric.fingerprint != UserMetric("mine", lambda _: 1.0).bind(deep).fingerprint
