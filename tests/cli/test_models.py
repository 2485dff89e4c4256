"""Searches that name a published model, with axes declared by hand in place of those that are found."""

import json

import pytest
import torch

import archsmith as smith
from archsmith.source import building
from archsmith.testing.torchvision_stub import define_torchvision_operators

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "a")


@pytest.fixture(scope="module", autouse=True)
def operators():
    define_torchvision_operators()


@pytest.fixture
def declared(monkeypatch):
    """``declared(axes)``: plain modules become elastic along these axes; gives what they were called with."""
    seen = []

    def declare(axes):
        def elastic(model, example, on_progress):
            seen.append((model, example))
            return smith.elastic(model, example, axes, copy=False)

        monkeypatch.setattr(building, "elastic", elastic)
        return seen

    return declare


def ffn(prefix):
    width = smith.Width(f"{prefix}.ffn", (8, 16, 24))
    return {
        f"{prefix}.intermediate.dense": smith.Elastic(out=width),
        f"{prefix}.output.dense": smith.Elastic(into=width),
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A tiny transformer with its tokenizer in ``mine``, and a table of texts, in the current folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification

    monkeypatch.chdir(tmp_path)
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
    )
    BertForSequenceClassification(config).save_pretrained("mine")
    tokenizer.save("mine/tokenizer.json")
    lines = [f"{'a ' * (i % 4)}{WORDS[4 + i % 2]} film\t{i % 2}" for i in range(80)]
    (tmp_path / "train.tsv").write_text("\n".join(["text\tlabel", *lines]))
    return tmp_path


def test_a_transformer_from_a_folder(folder, archsmith, holds, declared):
    seen = declared(ffn("bert.encoder.layer.0"))
    command = ["search", "--data", "train.tsv", "--data-option", "tokenizer=mine", "--model", "hf/mine"]
    command += [
        "--minimize",
        "params",
        "--epochs",
        "15",
        "--batch-size",
        "16",
        "--lr",
        "0.01",
        "--budget",
        "3",
        "--run",
        "run",
        "--json",
    ]
    done = archsmith(*command)
    assert done.code == 0, done.err
    front = json.loads(done.out)["front"]
    assert max(n["values"]["accuracy_top1"]["value"] for n in front) > 90
    [_, example], *_ = seen
    assert list(example) == ["input_ids", "attention_mask"]
    assert int(example["input_ids"].max()) < len(WORDS)
    assert example["attention_mask"].sum(1).tolist() == [7, 4]
    checks = holds(archsmith("verify", f"run/exports/{front[0]['name']}.onnx", "--json"))
    assert checks["rebuilt module"] == "ok"
    (folder / "mine" / "model.safetensors").unlink()  # what was exported does not need the weights it began with
    checks = holds(archsmith("verify", f"run/exports/{front[0]['name']}.onnx", "--json"))
    assert checks["rebuilt module"] == "ok"


def test_an_image_model_of_timm(tmp_path, archsmith, declared):
    width = smith.Width("width", (16, 32, 64))
    block = "layer1.0"
    axes = {
        f"{block}.conv1": smith.Elastic(out=width),
        f"{block}.bn1": smith.Elastic(over=width),
        f"{block}.conv2": smith.Elastic(into=width),
    }
    seen = declared(axes)
    command = ["search", "--data", "digits", "--images", "200", "--model", "timm/resnet10t", "--minimize", "params"]
    command += ["--epochs", "1", "--budget", "2", "--no-export", "--run", tmp_path / "run", "--json"]
    done = archsmith(*command)
    assert done.code == 0, done.err
    model, example = seen[0]
    assert example.shape == (2, 1, 8, 8)
    with torch.no_grad():
        assert model.eval()(example).shape == (2, 10)
    fixed = smith.Run.open(tmp_path / "run").fixed
    assert fixed["model"]["model"] == "timm/resnet10t"
    assert fixed["inputs"] == [[2, 1, 8, 8]]


def test_weights_are_fetched_once(monkeypatch, declared):
    """What is built again for weights of ours asks for none; the network is the same."""
    from archsmith.models.timm import Timm

    asked = []
    build = Timm.build

    def noted(self, spec, **arguments):
        asked.append(arguments.pop("pretrained", None))
        return build(self, spec, **arguments)

    monkeypatch.setattr(Timm, "build", noted)
    declared({"layer1.0.conv1": smith.Elastic(kernel=smith.Kernel("kernel", (1, 3)))})
    source = {
        "model": "timm/resnet10t",
        "options": {"channels": 1, "classes": 2, "image_size": [8, 8], "pretrained": True},
    }
    spaces = [make(source).space.fingerprint for make in (building.build, building.rebuild)]
    assert asked == [True, False]
    assert spaces[0] == spaces[1]


class TestFound:
    """The same with axes that are found, not declared."""

    @pytest.mark.slow
    def test_an_image_model_of_timm(self, tmp_path, archsmith, holds):
        command = ["search", "--data", "digits", "--images", "300", "--resize", "16", "--model", "timm/test_resnet"]
        command += ["--minimize", "params", "--epochs", "1", "--budget", "3", "--run", tmp_path / "run", "--json"]
        done = archsmith(*command, "--no-export")
        assert done.code == 0, done.err
        assert "elastic  tracing" in done.err
        front = json.loads(done.out)["front"]
        largest = max(e.values["params"].value for e in smith.Run.open(tmp_path / "run").evaluations())
        assert min(n["values"]["params"]["value"] for n in front) < largest / 2
        exported = archsmith("export", tmp_path / "run", "--name", front[0]["name"])
        assert exported.code == 0
        verified = archsmith("verify", tmp_path / "run" / "exports" / f"{front[0]['name']}.onnx", "--json")
        assert all("elastic  tracing" in told.err for told in (exported, verified))
        again = archsmith("export", tmp_path / "run")  # the others: traced once for the run, once for all certificates
        assert again.err.count("elastic  tracing") <= 2
        checks = holds(verified)
        assert checks["rebuilt module"] == checks["accuracy on test"] == "ok"

    def test_a_transformer_from_a_folder(self, folder, archsmith, holds):
        command = ["search", "--data", "train.tsv", "--data-option", "tokenizer=mine", "--model", "hf/mine"]
        command += ["--minimize", "params", "--epochs", "1", "--budget", "3", "--run", "run", "--json"]
        done = archsmith(*command)
        assert done.code == 0, done.err
        assert "elastic  tracing" in done.err
        front = json.loads(done.out)["front"]
        verified = archsmith("verify", f"run/exports/{front[0]['name']}.onnx", "--json")
        assert "elastic  tracing" in verified.err
        checks = holds(verified)
        assert checks["rebuilt module"] == checks["accuracy on test"] == "ok"
