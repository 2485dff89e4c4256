"""Texts: tables, Hugging Face datasets on disk, tokenizers, and the batches that come of them."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from archsmith.data import open_data
from archsmith.data._assemble import assemble_splits
from archsmith.data._files import split_code
from archsmith.data._tokenizers import padded
from archsmith.data.base import Collection
from archsmith.errors import InvalidData, InvalidOption, UnknownName

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "a", "very", "not", "the", "end")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A folder with the ``tokenizer.json`` of a tiny vocabulary, as ``save_pretrained`` writes one."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    found = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    found.enable_padding(length=50)  # what a file says of padding and cutting is the user's earlier wish, not ours
    folder = tmp_path_factory.mktemp("tokenizer")
    found.save(str(folder / "tokenizer.json"))
    return str(folder)


def rows(n=20, start=0):
    """Texts of two to five words, each another, and their labels."""
    rng = np.random.default_rng(start)
    found = []
    for i in range(n):
        words = [WORDS[4 + i % 2], *(WORDS[k] for k in rng.integers(6, 12, 1 + (start + i) % 4))]
        found.append((" ".join(words), i % 2))
    return found


def write(path, found, header=("sentence", "label"), separator="\t"):
    lines = [separator.join(header), *(separator.join(map(str, row)) for row in found)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def decoded(data, split="train"):
    inputs = getattr(data, split).inputs
    return [
        " ".join(WORDS[i] for i, m in zip(ids, mask, strict=True) if m)
        for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
    ]


class TestTables:
    def test_a_file_is_split_like_images_are(self, tmp_path, tokenizer):
        path = write(tmp_path / "reviews.tsv", rows(30))
        data = open_data(path, options={"tokenizer": tokenizer}, seed=3)
        assert (len(data.train), len(data.val), len(data.test)) == (18, 6, 6)
        assert data.notes[0] == "val: 6 texts taken from train (stratified, seed 3)"
        texts = decoded(data) + decoded(data, "val") + decoded(data, "test")
        assert sorted(texts) == sorted(f"[CLS] {text} [SEP]" for text, _ in rows(30))
        for split in (data.train, data.val, data.test):
            assert np.bincount(split.labels).tolist() == [len(split) // 2] * 2

    def test_labels_stay_with_their_texts(self, tmp_path, tokenizer):
        data = open_data(write(tmp_path / "a.tsv", rows()), options={"tokenizer": tokenizer})
        assert [("bad" in text) for text in decoded(data)] == data.train.labels.astype(bool).tolist()

    def test_a_folder_of_splits(self, tmp_path, tokenizer):
        for i, name in enumerate(("train", "dev", "test")):
            write(tmp_path / f"{name}.tsv", rows(8 + i, start=i))
        data = open_data(tmp_path, options={"tokenizer": tokenizer})
        assert (len(data.train), len(data.val), len(data.test)) == (8, 9, 10)
        assert decoded(data, "val") == [f"[CLS] {text} [SEP]" for text, _ in rows(9, start=1)]

    def test_csv_is_quoted_and_tsv_is_not(self, tmp_path, tokenizer):
        found = [(f'"very, {text}"', label) for text, label in rows()]
        data = open_data(write(tmp_path / "a.csv", found, separator=","), options={"tokenizer": tokenizer})
        assert all(text.startswith("[CLS] very [UNK] ") for text in decoded(data))
        odd = [(f'"{text}', label) for text, label in rows()]  # a quotation mark that nobody closes
        data = open_data(write(tmp_path / "a.tsv", odd), options={"tokenizer": tokenizer})
        assert len(data.train) + len(data.val) + len(data.test) == 20

    def test_columns_by_option(self, tmp_path, tokenizer):
        header = ("id", "review", "stars")
        path = write(tmp_path / "a.tsv", [(i, *row) for i, row in enumerate(rows())], header)
        data = open_data(path, options={"tokenizer": tokenizer, "text": "review", "label": "stars"})
        assert len(data.classes) == 2
        with pytest.raises(UnknownName, match=r"no column of a\.tsv is called 'reviews'; did you mean 'review'"):
            open_data(path, options={"tokenizer": tokenizer, "text": "reviews", "label": "stars"})
        with pytest.raises(
            InvalidData, match=r"which column of a\.tsv holds the texts: it has id, review, stars; give"
        ):
            open_data(path, options={"tokenizer": tokenizer, "label": "stars"})
        with pytest.raises(UnknownName, match=r"no column of a\.tsv is called 'label'.*label=COLUMN"):
            open_data(path, options={"tokenizer": tokenizer, "text": "review"})

    def test_pairs(self, tmp_path, tokenizer):
        header = ("premise", "hypothesis", "label")
        path = write(tmp_path / "a.tsv", [(text, "the end", label) for text, label in rows()], header)
        data = open_data(path, options={"tokenizer": tokenizer, "text": ("premise", "hypothesis")})
        assert all(text.endswith("[SEP] the end [SEP]") for text in decoded(data))
        inputs, _ = next(iter(data.batches("train", 4)))
        assert list(inputs) == ["input_ids", "attention_mask", "token_type_ids"]
        assert inputs["token_type_ids"].sum(1).tolist() == [3] * len(inputs["token_type_ids"])
        assert data.network_options["inputs"] == list(inputs)

    def test_names_of_classes_are_sorted_and_numbers_keep_their_order(self, tmp_path, tokenizer):
        found = [(text, ("spam", "ham")[label]) for text, label in rows()]
        assert open_data(write(tmp_path / "a.tsv", found), options={"tokenizer": tokenizer}).classes == ("ham", "spam")
        found = [(text, (10, 9)[label]) for text, label in rows()]
        assert open_data(write(tmp_path / "a.tsv", found), options={"tokenizer": tokenizer}).classes == ("9", "10")

    def test_long_texts_are_cut(self, tmp_path, tokenizer):
        path = write(tmp_path / "a.tsv", rows())
        whole = open_data(path, options={"tokenizer": tokenizer})
        assert whole.tokens == 7  # the longest has five words
        cut = open_data(path, options={"tokenizer": tokenizer, "max_length": 5})
        assert cut.tokens == 5
        assert all(text.endswith("[SEP]") for text in decoded(cut))
        assert cut.notes[0] == "10 of 20 texts are longer than 5 tokens and were cut"

    def test_a_limit_and_progress(self, tmp_path, tokenizer):
        seen = []
        path = write(tmp_path / "a.tsv", rows(60))
        data = open_data(
            path, options={"tokenizer": tokenizer}, limit=24, on_progress=lambda done, total: seen.append((done, total))
        )
        assert len(data.train) + len(data.val) + len(data.test) == 24
        assert seen == [(24, 24)]

    def test_leaks_are_told(self, tmp_path, tokenizer):
        write(tmp_path / "train.tsv", rows(12))
        write(tmp_path / "dev.tsv", rows(12)[:3] + rows(5, start=7))
        write(tmp_path / "test.tsv", rows(8, start=3))
        data = open_data(tmp_path, options={"tokenizer": tokenizer})
        told = [note for note in data.notes if "of val" in note]
        assert len(told) == 1
        assert told[0].endswith("also in train, token for token: accuracy there is flattered")

    @pytest.mark.parametrize(
        ("content", "kind", "message"),
        [
            ("sentence\tlabel\na\t1\nb\t0\textra\n", InvalidData, r"line 3 of .*a\.tsv has 3 fields, its header 2"),
            (b"sentence\tlabel\nna\xefve\t1\n", InvalidData, r"cannot read .*a\.tsv after 0 rows.*UTF-8"),
            ("", InvalidData, r"a\.tsv is empty; its first line must name the columns"),
            ("sentence\tscore\na\t1\n", UnknownName, r"no column of a\.tsv is called 'label'.*--data-option label"),
            ("sentence\tlabel\n", InvalidData, "holds no texts"),
            ("sentence\tlabel\na\t1\nb\t1\n", InvalidData, "has one class only, 1"),
            ("sentence\tlabel\na\t1\nb\t0\nc\t0\n", InvalidData, "class '1' has 1 training texts"),
        ],
    )
    def test_what_cannot_be_read(self, tmp_path, tokenizer, content, kind, message):
        path = tmp_path / "a.tsv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(kind, match=message):
            open_data(path, options={"tokenizer": tokenizer})

    def test_options_that_make_no_sense(self, tmp_path, tokenizer):
        path = write(tmp_path / "a.tsv", rows())
        with pytest.raises(InvalidOption, match="are texts and need the tokenizer of the network: give tokenizer="):
            open_data(path)
        with pytest.raises(InvalidOption, match=r"max_length must lie in 2\.\.65536 tokens, got 1"):
            open_data(path, options={"tokenizer": tokenizer, "max_length": 1})
        with pytest.raises(InvalidOption, match=r"resize=8 is for images, but .*a\.tsv' holds texts"):
            open_data(path, options={"tokenizer": tokenizer}, resize=8)
        with pytest.raises(InvalidOption, match="TextTable has no option tokeniser; it has: tokenizer, text, label"):
            open_data(path, options={"tokeniser": tokenizer})
        with pytest.raises(InvalidOption, match="names 3 columns; a text is one, a pair of texts are two"):
            open_data(path, options={"tokenizer": tokenizer, "text": ("a", "b", "c")})
        with pytest.raises(InvalidOption, match="Digits has no option tokenizer"):
            open_data("digits", options={"tokenizer": tokenizer})

    def test_a_tokenizer_that_is_none(self, tmp_path):
        path = write(tmp_path / "a.tsv", rows())
        (tmp_path / "tokenizer.json").write_text("{}")
        with pytest.raises(InvalidData, match=r"cannot load the tokenizer .*tokenizer\.save_pretrained"):
            open_data(path, options={"tokenizer": str(tmp_path / "tokenizer.json")})

    def test_a_tokenizer_of_transformers(self, tmp_path, tokenizer):
        from archsmith.testing.torchvision_stub import define_torchvision_operators

        define_torchvision_operators()
        from transformers import BertTokenizer

        folder = tmp_path / "bert"
        BertTokenizer(vocab={w: i for i, w in enumerate(WORDS)}).save_pretrained(folder)
        (folder / "tokenizer.json").rename(tmp_path / "kept.json")
        (folder / "vocab.txt").write_text("\n".join(WORDS))  # as older models have it
        path = write(tmp_path / "a.tsv", rows())
        old, new = (open_data(path, options={"tokenizer": str(t)}) for t in (folder, tmp_path / "kept.json"))
        assert old.fingerprint == new.fingerprint
        assert decoded(old) == decoded(open_data(path, options={"tokenizer": tokenizer}))


def test_a_function_that_returns_texts(tmp_path, tokenizer, monkeypatch):
    path = write(tmp_path / "a.tsv", rows(60))
    (tmp_path / "my_texts.py").write_text(
        "import archsmith as smith\n"
        f"def make(): return smith.open_data({path!r}, options={{'tokenizer': {tokenizer!r}}})"
    )
    monkeypatch.chdir(tmp_path)
    found, whole = open_data("my_texts:make"), open_data(path, options={"tokenizer": tokenizer})
    sys.modules.pop("my_texts")
    assert found.fingerprint == whole.fingerprint
    assert found.notes == whole.notes


class TestBatches:
    @pytest.fixture
    def data(self, tmp_path, tokenizer):
        return open_data(write(tmp_path / "a.tsv", rows(60)), options={"tokenizer": tokenizer})

    def test_form(self, data):
        inputs, labels = next(iter(data.batches("train", 10)))
        assert list(inputs) == ["input_ids", "attention_mask"]
        assert all(x.shape == (9, data.tokens) and x.dtype == torch.int64 for x in inputs.values())
        assert labels.dtype == torch.int64
        assert data.network_options == {
            "classes": 2,
            "tokens": 7,
            "vocabulary": len(WORDS),
            "inputs": ["input_ids", "attention_mask"],
        }
        assert data.form == "7 tokens"

    def test_order_depends_on_seed_and_epoch_alone(self, data):
        def order(seed, epoch):
            batches = data.batches("train", 10, shuffle=True, seed=seed)
            batches.set_epoch(epoch)
            return torch.cat([x["input_ids"] for x, _ in batches]).tolist()

        assert order(0, 1) == order(0, 1) != order(0, 2)
        assert order(1, 1) != order(0, 1)
        assert sorted(order(0, 1)) == sorted(order(1, 2))

    def test_fingerprints(self, data, tmp_path, tokenizer):
        again = open_data(tmp_path / "a.tsv", options={"tokenizer": tokenizer})
        assert again.fingerprint == data.fingerprint
        shorter = open_data(tmp_path / "a.tsv", options={"tokenizer": tokenizer, "max_length": 4})
        assert shorter.fingerprint != data.fingerprint
        relabelled = rows(60)
        relabelled[0], relabelled[1] = (relabelled[0][0], 1), (relabelled[1][0], 0)
        other = open_data(write(tmp_path / "b.tsv", relabelled), options={"tokenizer": tokenizer})
        assert other.fingerprint != data.fingerprint

    def test_a_split_and_a_size_that_are_none(self, data):
        with pytest.raises(UnknownName, match="no split is called 'dev'"):
            data.batches("dev", 8)
        with pytest.raises(InvalidOption, match="a batch holds at least one text, got size=0"):
            data.batches("val", 0)


def test_rows_that_are_too_long_keep_their_last_token():
    found = padded({"input_ids": [[2, 5, 6, 7, 3], [2, 3]]}, 4, 9, 10)
    assert found.inputs["input_ids"].tolist() == [[2, 5, 6, 3], [2, 3, 9, 9]]
    assert found.inputs["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert found.notes == ("1 of 2 texts are longer than 4 tokens and were cut",)


@pytest.mark.parametrize(
    ("stem", "code"),
    [("train", 0), ("train-00001-of-00002", 0), ("dev", 1), ("Validation", 1), ("test", 2), ("a", None)],
)
def test_splits_by_name(stem, code):
    assert split_code(stem) == code


def test_messages_speak_of_texts():
    found = Collection(np.array([]), np.array([], np.int8), None, noun="text")
    with pytest.raises(InvalidData, match="holds no texts"):
        assemble_splits(found, "mine", resize=None, seed=0, limit=None, on_progress=None)


def save_split(folder, table, shards=1):
    """A split as ``Dataset.save_to_disk`` of datasets 5 writes it."""
    folder.mkdir(parents=True)
    names = []
    for i in range(shards):
        name = f"data-{i:05d}-of-{shards:05d}.arrow"
        part = table.slice(i * len(table) // shards, len(table) // shards)
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(part)
        names.append({"filename": name})
    (folder / "state.json").write_text(json.dumps({"_data_files": names, "_fingerprint": "f", "_split": folder.name}))
    (folder / "dataset_info.json").write_text("{}")


def table(found, names=("neg", "pos"), **more):
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    columns = {"text": [t for t, _ in found], "label": pa.array([y for _, y in found], pa.int64())} | more
    return pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


class TestHuggingFace:
    def test_splits_and_class_names(self, tmp_path, tokenizer):
        for i, name in enumerate(("train", "validation", "test", "unsupervised")):
            save_split(tmp_path / name, table(rows(12, start=i)), shards=2)
        (tmp_path / "dataset_dict.json").write_text(
            json.dumps({"splits": ["train", "validation", "test", "unsupervised"]})
        )
        data = open_data(tmp_path, options={"tokenizer": tokenizer})
        assert data.classes == ("neg", "pos")
        assert (len(data.train), len(data.val), len(data.test)) == (12, 12, 12)
        assert decoded(data, "test") == [f"[CLS] {text} [SEP]" for text, _ in rows(12, start=2)]
        assert data.notes[0].startswith("the splits unsupervised were not read")

    def test_a_single_dataset_is_split(self, tmp_path, tokenizer):
        save_split(tmp_path / "whole", table(rows(30)))
        data = open_data(tmp_path / "whole", options={"tokenizer": tokenizer})
        assert (len(data.train), len(data.val), len(data.test)) == (18, 6, 6)

    def test_texts_that_were_tokenised_before(self, tmp_path):
        ids = [[2, 4 + i % 7, 3][: 2 + i % 2] for i in range(20)]
        save_split(tmp_path / "done", table(rows(20), input_ids=ids, attention_mask=[[1] * len(r) for r in ids]))
        data = open_data(tmp_path / "done")
        assert (data.tokens, data.vocabulary) == (3, 11)
        with pytest.raises(InvalidOption, match="max_length must lie in"):
            open_data(tmp_path / "done", options={"max_length": 0})

    def test_images(self, tmp_path):
        import io

        from PIL import Image

        def png(value):
            buffer = io.BytesIO()
            Image.fromarray(np.full((6, 6), value, np.uint8)).save(buffer, "PNG")
            return buffer.getvalue()

        found = pa.table(
            {"image": [{"bytes": png(i), "path": None} for i in range(20)], "label": [i % 2 for i in range(20)]}
        )
        save_split(tmp_path / "pictures", found)
        data = open_data(tmp_path / "pictures")
        assert data.shape == (1, 6, 6)
        assert sorted(int(i[0, 0, 0]) for s in (data.train, data.val, data.test) for i in s.images) == list(range(20))

    def test_what_cannot_be_read(self, tmp_path, tokenizer):
        (tmp_path / "dataset_dict.json").write_text('{"splits": ["everything"]}')
        with pytest.raises(InvalidData, match="has the splits everything but no 'train'"):
            open_data(tmp_path, options={"tokenizer": tokenizer})
        save_split(tmp_path / "a", table([(None, 0), *rows(19)]))
        with pytest.raises(InvalidData, match=r"row 0 of a in .* has no text"):
            open_data(tmp_path / "a", options={"tokenizer": tokenizer})
        (tmp_path / "a" / "data-00000-of-00001.arrow").write_bytes(b"nothing of the kind")
        with pytest.raises(InvalidData, match=r"cannot read .*data-00000-of-00001\.arrow as Arrow"):
            open_data(tmp_path / "a", options={"tokenizer": tokenizer})
        save_split(tmp_path / "b", table(rows(20)))
        state = json.loads((tmp_path / "b" / "state.json").read_text())
        (tmp_path / "b" / "state.json").write_text(json.dumps(state | {"_indices_data_files": [{"filename": "i"}]}))
        with pytest.raises(InvalidData, match="lists its rows in another file; write it with flatten_indices"):
            open_data(tmp_path / "b", options={"tokenizer": tokenizer})


def sst2() -> Path:
    root = Path(os.environ.get("ARCHSMITH_DATA") or Path(__file__).parents[3] / "shared" / "data") / "sst2"
    if not (root / "train.tsv").exists():
        pytest.skip("SST-2 is not here: set ARCHSMITH_DATA to the folder that holds sst2/train.tsv")
    return root


def test_the_real_sst2(tokenizer):
    data = open_data(sst2(), options={"tokenizer": tokenizer})
    assert (len(data.train), len(data.val), len(data.test)) == (6920, 872, 1821)
    assert data.classes == ("0", "1")
    assert [np.bincount(s.labels).tolist() for s in (data.train, data.val, data.test)] == [
        [3310, 3610],
        [428, 444],
        [912, 909],
    ]
