"""The file of a table: what is written is read; a damaged, foreign or newer file is refused with the way out."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from archsmith.benchmark import _file
from archsmith.errors import DamagedFile, MissingTable

AGAIN = "Import it again."
ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.one_of(
        hnp.arrays(np.int16, hnp.array_shapes(max_dims=2, min_side=0, max_side=9)),
        hnp.arrays(np.float64, st.integers(0, 20)),
    ),
    max_size=4,
)


@settings(max_examples=12)  # each is flushed to disk
@given(arrays=ARRAYS, about=st.dictionaries(st.text(max_size=5), st.one_of(st.text(), st.floats(allow_nan=False))))
def test_what_is_written_is_read(tmp_path_factory, arrays, about):
    path = tmp_path_factory.getbasetemp() / "law.table"
    header = {"about": about}
    _file.write(path, header, arrays)
    table = _file.read(path, again=AGAIN)
    assert table.header["about"] == about
    assert table.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(table.arrays[name], array)
        assert table.arrays[name].dtype == array.dtype
    before = path.read_bytes()
    _file.write(path, header, arrays)
    assert path.read_bytes() == before, "equal contents, equal bytes"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "whole.table"
    _file.write(path, {"spec": "x"}, {"rows": np.arange(12, dtype=np.int16).reshape(4, 3), "column:a": np.ones(4)})
    return path.read_bytes()


@given(data=st.data())
def test_a_changed_byte_is_noticed(tmp_path_factory, whole, data):
    at = data.draw(st.integers(0, len(whole) - 1))
    path = tmp_path_factory.getbasetemp() / "changed.table"
    path.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
    with pytest.raises(DamagedFile, match="Import it again"):
        _file.read(path, again=AGAIN)


@given(data=st.data())
def test_a_file_that_is_cut_or_longer_is_noticed(tmp_path_factory, whole, data):
    path = tmp_path_factory.getbasetemp() / "cut.table"
    for content in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"\0"):
        path.write_bytes(content)
        with pytest.raises(DamagedFile, match="Import it again"):
            _file.read(path, again=AGAIN)


def test_a_foreign_and_a_newer_file_are_told_apart(tmp_path, whole):
    path = tmp_path / "t.table"
    path.write_bytes(b"PK\3\4" + bytes(100))
    with pytest.raises(DamagedFile, match="is no table"):
        _file.read(path, again=AGAIN)
    sizes = (2).to_bytes(8, "little") + whole[24:32]
    length = int.from_bytes(whole[24:32], "little")
    digest = hashlib.sha256(sizes + whole[64 : 64 + length]).digest()
    path.write_bytes(whole[:16] + sizes + digest + whole[64:])
    with pytest.raises(DamagedFile, match="newer"):
        _file.read(path, again=AGAIN)
    with pytest.raises(MissingTable, match="Import it again"):
        _file.read(tmp_path / "none.table", again=AGAIN)


def test_arrays_are_mapped_and_cannot_be_written(tmp_path):
    path = tmp_path / "t.table"
    _file.write(path, {}, {"a": np.arange(5.0)})
    table = _file.read(path, again=AGAIN)
    assert not table.arrays["a"].flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        table.arrays["a"][0] = 1.0
