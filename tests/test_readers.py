"""Files of archsmith's own with valid JSON of a wrong form, pickles that are programs, and archives that lie."""

import hashlib
import json
import os
import pickle
import struct
import zipfile
from contextlib import suppress

import numpy as np
import pytest

from archsmith.benchmark import _file
from archsmith.benchmark._pickle import read_plain_pickle
from archsmith.benchmark._sources import Sources
from archsmith.comparison.record import FORMAT, read_record
from archsmith.errors import DamagedFile, InvalidData
from archsmith.evaluator.predicted_latency import _kept
from archsmith.hardware.block_table import _read
from archsmith.hardware.reference import read_anchor
from archsmith.testing.mutations import mutants, survives

RECORD = {
    "format": FORMAT,
    "problem": "p",
    "benchmark": "nasbench201",
    "objectives": ["max val_acc"],
    "within": None,
    "table": "ab",
    "contender": {"label": "a", "name": "random", "options": {}, "graph": True, "free": [], "batch": 1},
    "code": "cd",
    "seed": 0,
    "budget": 2,
    "ended": "budget",
    "positions": [0, 1],
    "rows": [[0], [1]],
    "values": [[1.0], None],
    "cpu_ms": [0.1, 0.2],
    "versions": {"numpy": "2"},
}
READERS = {
    "record": (read_record, RECORD),
    "block table": (lambda path: _read(path, "blocks"), {"latency_ms": {"a": 1.0}}),
    "anchor": (read_anchor, {"reference_ms": 1.0}),
    "latencies": (lambda path: _kept(path, "e"), {"evaluator": "e", "latency_ms": {"k": 1.0}}),
}


def as_json(data):
    try:
        return json.dumps(data)
    except RecursionError:  # nor can what is nested so deeply be written
        return "[" * 10**5


@pytest.mark.parametrize("name", READERS)
def test_wrong_forms_are_damaged_files(name, tmp_path):
    read, document = READERS[name]
    path = tmp_path / "file.json"

    def written(data):
        path.write_text(as_json(data))
        read(path)

    written(document)
    _, refused = survives(written, mutants(document, np.random.default_rng(0), 60))
    assert refused >= 20


def table(path, header, payload=bytes(64)):
    text = as_json(header).encode()
    text += b" " * (-len(text) % 64)
    sizes = (1).to_bytes(8, "little") + len(text).to_bytes(8, "little")
    path.write_bytes(_file.MAGIC + sizes + hashlib.sha256(sizes + text).digest() + text + payload)
    return path


def test_headers_of_tables(tmp_path):
    digest = hashlib.sha256(bytes(64)).hexdigest()
    document = {"arrays": {"rows": {"dtype": "<i2", "shape": [4, 2], "offset": 0}}, "bytes": 64, "sha256": digest}

    def read(data):
        return _file.read(table(tmp_path / "a.table", data), again="")

    assert read(document).arrays["rows"].shape == (4, 2)
    survives(read, mutants(document, np.random.default_rng(0), 80))
    for place in ({"dtype": "|O"}, {"shape": [10**12]}, {"shape": [-1]}, {"offset": -64}, {"dtype": "<i2,<i2"}):
        data = {**document, "arrays": {"rows": document["arrays"]["rows"] | place}}
        with pytest.raises(DamagedFile, match="damaged"):
            read(data)


# Pickles -------------------------------------------------------------------------------------------------------------


class Runs:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


SCALAR = b"\x80\x02cnumpy._core.multiarray\nscalar\n"
DTYPE = b"\x80\x02cnumpy\ndtype\n"


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Runs(os.system, ("touch here",))),
        pickle.dumps(Runs(getattr, (1, "real"))),
        pickle.dumps(np.zeros(3)),
        b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
        b"\x80\x02r\xff\xff\xff\x7f.",
        b"\x80\x02}r\xff\xff\xff\x7f.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b".",
        SCALAR + b"}X\x0c\x00\x00\x00__defaults__Nsb}.",
        SCALAR + b"N}X\x0c\x00\x00\x00__defaults__Ns\x86b}.",
        DTYPE + b"}X\x01\x00\x00\x00aNsb}.",
        DTYPE + b"X\x01\x00\x00\x00O\x85R}.",
        DTYPE + b")\x81}.",
        b"(" * 10**5,
        b"]" * 10**5 + b".",
        b"I" + b"9" * 10**5 + b"\n.",
        b"\x80\x02P1\n.",
        b"\x82\x01.",
        b"",
        pickle.dumps([1]),
    ],
    ids=range(19),
)
def test_pickles_that_do_something(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with suppress(InvalidData):
        assert read_plain_pickle(content, "the file") == {}
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy_are_read_in_either_order_of_bytes():
    data = {"a": np.float64(1.5), "b": np.dtype(">i4").type(3), "c": [np.float32(0.5)], 1: {"x": None}}
    for protocol in (3, 4, 5):
        assert read_plain_pickle(pickle.dumps(data, protocol), "it") == {"a": 1.5, "b": 3, "c": [0.5], 1: {"x": None}}


def test_archives_that_unpack_to_gigabytes(tmp_path, monkeypatch):
    monkeypatch.setattr("archsmith.benchmark._sources._ALWAYS_ALLOWED", 2**16)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", bytes(2**20))
    with pytest.raises(InvalidData, match="packed 100 times"):
        Sources(tmp_path).bytes("a.csv")
