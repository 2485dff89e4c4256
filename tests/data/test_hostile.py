"""Data that somebody else prepared: what they claim is checked, and nothing outside them is opened or run."""

import io
import json
import struct
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from archsmith.data import open_data
from archsmith.errors import InvalidData, UserError
from archsmith.testing.mutations import mutants, survives


def npy(shape, dtype="<f4", data=b""):
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def archive(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return str(path)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (npy((10**9, 250), data=bytes(16)), "claims 1000000000000 bytes"),
        (npy((-1, 4), data=bytes(16)), "no array of numbers"),
        (npy((1,), "|O", b"\x80\x04N."), "Python objects"),
        (b"cos\nsystem\n(S'touch here'\ntR.", "cannot read"),
        (b"", "cannot read"),
    ],
    ids=["terabyte", "negative", "objects", "pickle", "empty"],
)
def test_arrays_that_claim_what_they_are_not(tmp_path, member, said):
    with pytest.raises(InvalidData, match=said):
        open_data(archive(tmp_path / "a.npz", {"x_train.npy": member, "y_train.npy": npy((1,), data=bytes(4))}))


def test_a_small_file_that_unpacks_to_gigabytes(tmp_path, monkeypatch):
    monkeypatch.setattr("archsmith.data.npz._ALWAYS_ALLOWED", 2**20)
    zeros = npy((2**22,), "|u1", bytes(2**22))
    with pytest.raises(InvalidData, match=r"holds 4\.0 MiB, at most 1\.0 .* numpy\.savez"):
        open_data(archive(tmp_path / "a.npz", {"x.npy": zeros, "y.npy": npy((1,), data=bytes(4))}))


@pytest.fixture
def hf_folder(tmp_path):
    folder = tmp_path / "set"
    (folder / "train").mkdir(parents=True)
    table = pa.table({"input_ids": [[1, 2]] * 8, "label": [0, 1] * 4})
    with pa.OSFile(str(folder / "train" / "data.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as to:
        to.write_table(table)
    (folder / "dataset_dict.json").write_text('{"splits": ["train"]}')
    (folder / "train" / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    return folder


@pytest.mark.parametrize("name", ["../train/data.arrow", "/etc/passwd", "..", "", "train/../data.arrow", "a\0b"])
def test_files_of_a_data_set_lie_in_its_folder(hf_folder, name):
    (hf_folder / "train" / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(InvalidData, match="lie in its own folder"):
        open_data(hf_folder)


@pytest.mark.parametrize("name", ["train-/../train", "train-/etc"])
def test_splits_of_a_data_set_lie_in_its_folder(hf_folder, name):
    (hf_folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train", name]}))
    with pytest.raises(InvalidData, match="lie in its own folder"):
        open_data(hf_folder)


@pytest.mark.parametrize("file", ["dataset_dict.json", "train/state.json"])
def test_descriptions_of_a_wrong_form(hf_folder, file):
    document = json.loads((hf_folder / file).read_text())

    def read(data):
        try:
            text = json.dumps(data)
        except RecursionError:  # nor can what is nested so deeply be written
            text = "[" * 10**5
        (hf_folder / file).write_text(text)
        open_data(hf_folder)

    read(document)
    survives(read, mutants(document, np.random.default_rng(0), 12))


def test_arrow_that_points_beyond_its_end(hf_folder):
    file = hf_folder / "train" / "data.arrow"
    content = bytearray(file.read_bytes())
    offsets = np.arange(0, 18, 2, dtype="<i4").tobytes()
    at = content.index(offsets)
    content[at + 16 : at + 20] = struct.pack("<i", 2**30)
    file.write_bytes(content)
    with pytest.raises(InvalidData, match=r"cannot read .*data\.arrow"):
        open_data(hf_folder)


def test_a_table_that_repeats_one_image_is_held_against_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("archsmith.data._arrow.memory", lambda: 2**24)
    image = b"\x89PNG" + bytes(2**16)
    pq.write_table(pa.table({"image": [image] * 2000, "label": [0, 1] * 1000}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 2**20
    with pytest.raises(InvalidData, match="unpacks to more than"):
        open_data(tmp_path / "a.parquet")


def images(folder, content):
    for label in "ab":
        (folder / "train" / label).mkdir(parents=True)
        for i in range(4):
            (folder / "train" / label / f"{i}.png").write_bytes(content)
    return folder


def bomb():
    """A PNG of a few hundred bytes that claims a hundred thousand pixels a side."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 10**5, 10**5, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(99)))]
    chunks = [
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in [*parts, (b"IEND", b"")]
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_images_that_claim_too_many_pixels(tmp_path):
    with pytest.raises(InvalidData, match=r"0\.png.*pixels"):
        open_data(images(tmp_path, bomb()), resize=8)


def test_postscript_is_no_image_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("it was run"))
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, "EPS")
    with pytest.raises(InvalidData, match="cannot identify"):
        open_data(images(tmp_path, content.getvalue()))


@pytest.mark.parametrize("text", ["[]", "null", "{}", "[" * 10**5, '{"model": {"type": "BPE"}}', '{"version": 1e999}'])
def test_tokenizers_of_a_wrong_form(tmp_path, text):
    pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").write_text(text)
    (tmp_path / "a.tsv").write_text("sentence\tlabel\n" + "a b\t0\nc d\t1\n" * 8)
    with pytest.raises(UserError, match="cannot load the tokenizer"):
        open_data(tmp_path / "a.tsv", options={"tokenizer": str(tmp_path)})
