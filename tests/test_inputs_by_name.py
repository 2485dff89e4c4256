"""Models that take inputs by name and return dicts, dataclasses or model outputs, through the whole product."""

import json
from dataclasses import dataclass

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import archsmith as smith
from archsmith.architecture import Proposal
from archsmith.certificate import Exported, certify, verify
from archsmith.errors import EvaluationFailed, InvalidData, InvalidModel, InvalidOption
from archsmith.evaluator.accuracy import Accuracy, count_correct
from archsmith.evaluator.counts import Counts, count
from archsmith.evaluator.latency import Latency
from archsmith.export.base import Origin
from archsmith.export.onnx import Onnx
from archsmith.export.onnx_tools.by_position import Positional, positional
from archsmith.export.onnx_tools.comparing import difference
from archsmith.export.onnx_tools.fast_exporter import candidate_onnx
from archsmith.export.onnx_tools.onnx_file import OnnxFile
from archsmith.export.safetensors import Safetensors, load_network
from archsmith.hardware import Meter, open_device
from archsmith.structure.calls import arguments, in_order, logits_of, map_tensors
from archsmith.testing.clock import FakeClock, FakeDevice
from archsmith.testing.torchvision_stub import define_torchvision_operators

SOURCE = {"factory": "tests:named", "options": {}}
NAMES = ("input_ids", "attention_mask")


@dataclass
class Answer:
    """A plain dataclass, as users write them."""

    features: torch.Tensor
    logits: torch.Tensor
    loss: torch.Tensor | None = None


class Named(nn.Module):
    """Keyword-only inputs; the form of the output is the user's choice."""

    def __init__(self, form):
        super().__init__()
        self.form = form
        self.embed, self.up, self.down = nn.Embedding(30, 8), nn.Linear(8, 24), nn.Linear(24, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, *, input_ids, attention_mask, labels=None):
        x = self.embed(input_ids)
        x = x + self.down(torch.tanh(self.up(x)))
        weight = attention_mask.unsqueeze(-1).to(x.dtype)
        features = (x * weight).sum(1) / weight.sum(1)
        logits = self.head(features)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        if self.form == "dataclass":
            return Answer(features, logits, loss)
        if self.form == "tuple":
            return (logits, [features])
        return {"features": features, "logits": logits, "nested": {"first": [features[:, :1]]}}


def examples(items=2, length=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 30, (items, length), generator=generator)
    mask = torch.ones(items, length, dtype=torch.long)
    mask[1::2, length - 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


def named(form, seed=0):
    width = smith.Width("width", (8, 16, 24))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Named(form)
    return smith.elastic(model, examples(), {"up": smith.Elastic(out=width), "down": smith.Elastic(into=width)})


def bert(seed=0):
    define_torchvision_operators()
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        num_labels=3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertForSequenceClassification(config).eval()
    axes = {}
    for i in range(2):
        width, layer = smith.Width(f"ffn{i}", (8, 16, 24)), f"bert.encoder.layer.{i}"
        axes |= {f"{layer}.intermediate.dense": smith.Elastic(out=width)}
        axes |= {f"{layer}.output.dense": smith.Elastic(into=width)}
    return smith.elastic(model, examples(), axes)


def make(kind, seed=0):
    return bert(seed) if kind == "bert" else named(kind, seed)


def batches(seed=1, n=24):
    found = examples(n, seed=seed)
    labels = found["input_ids"][:, 0] % 3
    return [({k: v[i : i + 8] for k, v in found.items()}, labels[i : i + 8]) for i in range(0, n, 8)]


@pytest.fixture(scope="module", params=["dict", "dataclass", "tuple", "bert"])
def case(request, tmp_path_factory):
    """A supernet and one subnet's files; written once, because the exporter is slow."""
    supernet = make(request.param)
    architecture = supernet.smallest
    path = tmp_path_factory.mktemp(request.param) / "small.onnx"
    module, names = supernet.extract(architecture), supernet.input_names
    origin = Origin(source=SOURCE, architecture=architecture, plan=supernet.plan(architecture))
    Onnx().write(module, supernet.example_inputs, path, names=names)
    Safetensors().write(module, supernet.example_inputs, path.with_suffix(".safetensors"), names=names, origin=origin)
    return Exported(
        path=path,
        supernet=supernet,
        architecture=architecture,
        build=lambda _: make(request.param, seed=3),
        inputs=supernet.example_inputs,
        names=names,
    )


@pytest.fixture
def meter():
    device = FakeDevice(FakeClock())
    with Meter(device, clock=device.clock, anchor_ms=1.0) as meter:
        yield meter


def test_active_extracted_reloaded_and_onnx_are_equal(case):
    inputs = examples(5, seed=4)
    supernet, module = case.supernet.eval(), case.supernet.extract(case.architecture)
    reloaded = load_network(case.path.with_suffix(".safetensors"), case.build)
    assert type(module) is type(supernet.model) is type(reloaded)
    with torch.no_grad():
        extracted = module(**inputs)
        largest = supernet(**inputs)
        assert difference(supernet(**inputs, arch=case.architecture), extracted).absolute == 0
        assert difference(reloaded(**inputs), extracted).absolute == 0
        assert difference(extracted, OnnxFile(case.path)(**inputs)).relative < 1e-5
        fast = OnnxFile(candidate_onnx(positional(module, NAMES), tuple(inputs.values())))
        assert difference(extracted, fast(*inputs.values())).relative < 1e-5
    assert difference(largest, extracted).relative > 1e-3


def test_the_file_keeps_the_names_of_inputs_and_outputs(case):
    session = onnxruntime.InferenceSession(str(case.path), providers=["CPUExecutionProvider"])
    assert tuple(i.name for i in session.get_inputs()) == NAMES
    outputs = [o.name for o in session.get_outputs()]
    form = getattr(case.supernet.model, "form", "bert")
    wanted = {
        "dict": ["features", "logits", "nested.first.0"],
        "dataclass": ["features", "logits"],
        "bert": ["logits"],
    }
    assert outputs == wanted[form] if form in wanted else len(outputs) == 2  # a tuple has no names to keep


def test_certificate_and_verification(case, meter):
    proof = certify(case, batches={"val": batches()}, meter=meter)
    compared = proof.data["outputs"]["compared"]
    assert {row["inputs"] for row in compared} == {"random", "val"}
    assert len(compared) == 12
    with torch.no_grad():
        right, total = count_correct(case.supernet.extract(case.architecture), batches())
    assert (proof.data["accuracy"]["val"]["right"], total) == (right, 24)
    verdict = verify(case.path, build=case.build, batches={"val": batches()}, meter=meter)
    assert [c.status for c in verdict.checks] == ["ok"] * len(verdict.checks), verdict.lines()


def test_the_architecture_file_tells_how_to_call_the_network(case):
    described = json.loads(case.path.with_suffix(".architecture.json").read_text())["inputs"]
    assert [x["name"] for x in described] == list(NAMES)
    assert described[0]["values"] == examples()["input_ids"].tolist()  # zeros would be no sentence


def test_another_networks_files_are_not_certified(case, meter):
    other = make(getattr(case.supernet.model, "form", "bert"), seed=9)
    with pytest.raises(InvalidModel, match="is not certified"):
        certify(Exported(**{**vars(case), "supernet": other}), batches={}, meter=meter)


def test_counts_of_a_network_that_looks_at_its_mask():
    supernet = bert()
    length, hidden, inner, layers = 7, 16, 8, 2
    block = 4 * length * hidden**2 + 2 * length**2 * hidden + 2 * length * hidden * inner
    found = Counts(supernet).measure(Proposal(supernet.smallest), seed=0)
    assert found["macs"].value == layers * block + hidden**2 + 3 * hidden  # pooler and classifier see one token
    module = supernet.extract(supernet.smallest)
    assert count(positional(module, NAMES), supernet.example_inputs)[0] == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("spec", ["torch_cpu", "onnxruntime"])
@pytest.mark.parametrize("kind", ["dict", "bert"])
def test_latency_is_measured(kind, spec, clock):
    supernet = make(kind)
    with Meter(open_device(f"{spec}:threads=1,batch=3"), anchor_ms=1.0) as meter:
        found = Latency(supernet, meter).measure(Proposal(supernet.smallest), seed=0)
    assert 0 < found["latency_ms"].low <= found["latency_ms"].value


@pytest.mark.parametrize("kind", ["dict", "dataclass", "tuple", "bert"])
def test_training_and_judging(kind):
    supernet, data = make(kind), batches(n=48)
    before = Accuracy(supernet, data).measure(Proposal(supernet.smallest), seed=0)
    smith.train(supernet, data, method="sandwich", epochs=8, lr=0.03, warmup_epochs=0)
    after = Accuracy(supernet, data).measure(Proposal(supernet.smallest), seed=0)
    assert after["accuracy_top1"].value > before["accuracy_top1"].value + 20


def test_a_loss_of_the_models_own():
    supernet = named("dataclass")
    with_labels = [({**inputs, "labels": labels}, labels) for inputs, labels in batches()]
    report = smith.train(supernet, with_labels, method="single_path", loss=lambda out, _: out.loss, epochs=6, lr=0.02)
    assert report.history[-1]["loss_random"] < report.history[0]["loss_random"]
    top1 = Accuracy(supernet, with_labels).measure(Proposal(supernet.largest), seed=0)["accuracy_top1"]
    assert top1 == Accuracy(supernet, batches()).measure(Proposal(supernet.largest), seed=0)["accuracy_top1"]


def test_distillation_does_not_reach_the_teacher():
    from archsmith.training.base import detached

    supernet = named("dataclass")
    outputs = supernet(**examples())
    fixed = detached(outputs)
    assert isinstance(fixed, Answer)
    assert not fixed.logits.requires_grad
    assert outputs.logits.requires_grad  # the original is as it was


def test_a_search_with_files(tmp_path):
    supernet, data = named("dict"), batches()
    front = smith.search(
        supernet,
        data,
        test=batches(seed=2),
        calibration=data,
        maximize="accuracy_top1",
        minimize="params",
        budget=6,
        run=tmp_path / "run",
    )
    assert front.run.fixed["inputs"] == {"input_ids": [2, 7], "attention_mask": [2, 7]}
    written = front[0].export(tmp_path / "small.onnx")
    assert set(written.certificate.data["accuracy"]) == {"val", "test"}
    again = smith.search(supernet, data, maximize="accuracy_top1", minimize="params", budget=6, run=tmp_path / "run")
    assert [m.architecture.key for m in again] == [m.architecture.key for m in front]


class TestOwnLoop:
    def test_three_lines(self):
        supernet, data = bert(), batches(n=48)
        optimizer = torch.optim.AdamW(supernet.parameters(), lr=0.01)
        losses = []
        for _ in range(8):
            for inputs, labels in data:
                with supernet.sampled():
                    loss = supernet(**inputs, labels=labels).loss
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:6])

    def test_a_supernet_draws_the_same_for_the_same_seed(self):
        def drawn(seed):
            supernet = smith.Supernet(nn.Sequential(nn.Linear(2, 64), nn.Linear(64, 2)), *wide(), seed=seed)
            found = []
            for _ in range(8):
                with supernet.sampled() as architecture:
                    assert supernet.current == architecture
                    found.append(architecture.key)
            return found

        assert drawn(1) == drawn(1) != drawn(2)

    def test_a_generator_of_ones_own_leaves_the_supernets_alone(self):
        supernet = smith.Supernet(nn.Sequential(nn.Linear(2, 64), nn.Linear(64, 2)), *wide())
        before = supernet._sampler.bit_generator.state
        with supernet.sampled(np.random.default_rng(0)):
            pass
        assert supernet._sampler.bit_generator.state == before


def wide():
    width = smith.Width("width", tuple(range(1, 65)))
    return ({"0": smith.Elastic(out=width), "1": smith.Elastic(into=width)},)


class TestForms:
    def test_arguments(self):
        x = torch.ones(1)
        assert arguments(x) == ((x,), {})
        assert arguments([x, 2]) == ((x, 2), {})
        assert arguments({"a": x}) == ((), {"a": x})

    def test_order_is_that_of_the_example_inputs(self):
        assert in_order({"b": 2, "labels": 0, "a": 1}, ("a", "b")) == (1, 2)
        assert in_order((1, 2), ()) == (1, 2)

    @pytest.mark.parametrize(("inputs", "names"), [({"a": 1}, ()), ((1, 2), ("a", "b")), ({"a": 1}, ("a", "b"))])
    def test_a_mix_of_forms_is_refused(self, inputs, names):
        with pytest.raises(InvalidModel, match="give both in the same form"):
            in_order(inputs, names)

    def test_logits(self):
        x, y = torch.zeros(2, 3), torch.ones(2, 3)
        assert logits_of(x) is x
        assert logits_of({"other": y, "logits": x}) is x
        assert logits_of(Answer(y, x)) is x
        assert logits_of((None, x, y)) is x
        assert logits_of({"other": y}) is None
        assert logits_of(None) is None

    def test_map_tensors_reaches_into_dataclasses(self):
        given = {"a": [Answer(torch.zeros(1), torch.ones(1))], "b": "text"}
        found = map_tensors(lambda t: t + 1, given)
        assert (found["a"][0].features.item(), found["a"][0].logits.item(), found["b"]) == (1, 2, "text")
        assert given["a"][0].logits.item() == 1

    def test_outputs_without_a_tensor_are_refused(self):
        class Nothing(nn.Module):
            def forward(self, x):
                return {"text": "none"}

        with pytest.raises(InvalidModel, match="a dict in which there is no tensor"):
            Positional(Nothing())(torch.zeros(1))

    def test_outputs_of_unclear_meaning_are_no_accuracy(self):
        def network(x):
            return {"out": x}

        with pytest.raises(EvaluationFailed, match="the network returns a dict; return them as a tensor"):
            count_correct(network, [(torch.zeros(2, 3), torch.zeros(2))])

    def test_a_batch_that_is_a_dict_alone(self):
        with pytest.raises(InvalidData, match=r"pair it with its labels, such as \(batch, batch\['labels'\]\)"):
            smith.train(named("dict"), [{**examples(), "labels": torch.zeros(2)}], epochs=1)

    def test_a_file_called_without_all_its_inputs(self, case):
        with pytest.raises(InvalidOption, match="the file reads input_ids, attention_mask, got input_ids"):
            OnnxFile(case.path)(input_ids=examples()["input_ids"])

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            (
                torch.ones(2, 7),
                "Named cannot be called with 1 inputs by position: .*forward takes input_ids, attention",
            ),
            ({"input_idz": torch.ones(2, 7)}, "called with inputs called input_idz: .*required argument: 'input_ids'"),
            (
                {**examples(), "input_ids": torch.ones(2, 7)},
                "the model does not run on the example inputs: .*scalar type",
            ),
            ({**examples(), "attention_mask": None}, "the model does not run on the example inputs: .*NoneType"),
        ],
    )
    def test_example_inputs_that_the_model_cannot_take(self, inputs, message):
        width = smith.Width("width", (8, 24))
        axes = {"up": smith.Elastic(out=width), "down": smith.Elastic(into=width)}
        with pytest.raises(InvalidModel, match=message):
            smith.elastic(Named("dict"), inputs, axes)

    def test_the_smallest_is_proved_by_name(self):
        class Fixed(Named):
            def forward(self, *, input_ids, attention_mask):
                return self.down(self.up(self.embed(input_ids)).view(2, 7, 24)) * attention_mask.unsqueeze(-1)

        width = smith.Width("width", (8, 24))
        axes = {"up": smith.Elastic(out=width), "down": smith.Elastic(into=width)}
        with pytest.raises(InvalidModel, match="the smallest architecture does not run"):
            smith.elastic(Fixed("dict"), examples(), axes)
