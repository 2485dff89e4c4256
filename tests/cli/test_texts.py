"""A search on texts, with a network that takes inputs by name and a metric of network and data."""

import json
import sys

import numpy as np
import pytest

MODULE = """
import torch
from torch import nn
import archsmith as smith

class Reader(nn.Module):
    def __init__(self, classes, vocabulary):
        super().__init__()
        self.embed, self.up, self.down = nn.Embedding(vocabulary, 8), nn.Linear(8, 24), nn.Linear(24, 8)
        self.head = nn.Linear(8, classes)

    def forward(self, *, input_ids, attention_mask):
        x = self.embed(input_ids)
        x = x + self.down(torch.relu(self.up(x)))
        weight = attention_mask.unsqueeze(-1).float()
        pooled = (x * weight).sum(1) / weight.sum(1)
        return {"pooled": pooled, "logits": self.head(pooled)}

def make(classes, tokens, vocabulary):
    width = smith.Width("width", (8, 16, 24))
    axes = {"up": smith.Elastic(out=width), "down": smith.Elastic(into=width)}
    example = {k: torch.ones(2, tokens, dtype=torch.long) for k in ("input_ids", "attention_mask")}
    return smith.elastic(Reader(classes, vocabulary), example, axes)

def confidence(network, batches):
    found = [network(**inputs)["logits"].softmax(1).amax(1) for inputs, _ in batches]
    return torch.cat(found).mean().item()

metric = smith.UserMetric("confidence", confidence, on_data=True)
"""
WORDS = ("[PAD]", "[UNK]", "good", "bad", "film", "a", "very", "the")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A table of texts, a tokenizer and a module of the user's, in the current folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    rng = np.random.default_rng(0)
    lines = ["sentence\tlabel"]
    for i in range(120):
        words = [WORDS[2 + i % 2], *(WORDS[k] for k in rng.integers(4, 8, 1 + i % 5))]
        lines.append(f"{' '.join(rng.permutation(words))}\t{i % 2}")
    (tmp_path / "reviews.tsv").write_text("\n".join(lines))
    (tmp_path / "my_reader.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_reader", None)


TEXTS = ["--data", "reviews.tsv", "--data-option", "tokenizer=tokenizer.json"]


def test_from_a_table_to_verified_files(folder, archsmith, holds):
    command = ["search", *TEXTS, "--model", "my_reader:make", "--epochs", "8", "--lr", "0.02", "--budget", "4"]
    command += ["--metric", "my_reader:metric", "--maximize", "confidence", "--maximize", "accuracy_top1"]
    command += ["--minimize", "params", "--run", "run", "--json"]
    command += ["--no-export"]
    done = archsmith(*command)
    assert done.code == 0, done.err
    front = json.loads(done.out)["front"]
    assert archsmith("export", "run", "--name", front[0]["name"]).code == 0
    assert max(n["values"]["accuracy_top1"]["value"] for n in front) > 90  # one word tells the class
    assert all(0.5 <= n["values"]["confidence"]["value"] <= 1 for n in front)
    assert json.loads(archsmith(*command).out)["front"] == front
    name = front[0]["name"]
    checks = holds(archsmith("verify", f"run/exports/{name}.onnx", "--json"))
    assert checks["rebuilt module"] == checks["accuracy on test"] == "ok"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "my_reader:make"], "are texts and need the tokenizer of the network"),
        (["--data-option", "tokenizer=tokenizer.json"], "residual_convnet is a network for images, the data are texts"),
        (["--data-option", "max_lenght=5"], "TextTable has no option max_lenght"),
        (["--data-option", "tokenizer=tokenizer.json", "--model", "resnet18"], "other models are written timm/NAME"),
        (["--data-option", "tokenizer=tokenizer.json", "--model", "tim/resnet18"], "did you mean 'timm'"),
        (["--data-option", "tokenizer=tokenizer.json", "--resize", "8"], "resize=8 is for images"),
    ],
)
def test_mistakes(folder, archsmith, more, message):
    done = archsmith("search", "--data", "reviews.tsv", "--minimize", "params", "--run", "run", *more)
    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert not (folder / "run").exists()
