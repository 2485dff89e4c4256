"""Archives of arrays that lie about themselves."""

import io
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from archsmith.errors import InvalidData
from archsmith.npz import LARGEST_DIRECTORY, MOST_MEMBERS, read_npz

MAX_BYTES = 1 << 20


def saved(write=np.savez, **arrays):
    buffer = io.BytesIO()
    write(buffer, **arrays)
    return buffer.getvalue()


def header(shape, descr="<f4", version=1, padding=0):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode() + b" " * padding + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text


def archive(content, name="a.npy", copies=1, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for i in range(copies):
            file.writestr(name if copies == 1 else f"{i}{name}", content)
    return buffer.getvalue()


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(write, tmp_path):
    arrays = {
        "x": np.arange(6, dtype=np.float32).reshape(2, 3),
        "order": np.asfortranarray(np.ones((3, 2), dtype=np.uint8)),
        "scalar": np.array(3),
        "none": np.zeros((0, 5)),
        "words": np.array(["a", "bc"]),
    }
    data = saved(write, **arrays)
    (tmp_path / "a.npz").write_bytes(data)
    for source in (data, tmp_path / "a.npz", str(tmp_path / "a.npz")):
        found = read_npz(source, most=MAX_BYTES)
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


def encrypted():
    data = bytearray(archive(header((1,)) + b"0000"))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def same_name_twice():
    return archive(header((1,)) + b"0000", copies=2).replace(b"1a.npy", b"0a.npy")


def broken_stream():
    data = bytearray(saved(np.savez_compressed, a=np.arange(5000)))
    data[60:80] = bytes(20)
    return bytes(data)


def understated():
    """A member that unpacks to more than the list of members says."""
    content = header((25_000,)) + bytes(100_000)
    data = archive(content, compression=zipfile.ZIP_DEFLATED)
    return data.replace(struct.pack("<I", len(content)), struct.pack("<I", len(header((25_000,)))))


CASES = {
    "a terabyte is claimed": (archive(header((1 << 40,)) + b"0000"), "claims 4398046511104 bytes and has 4"),
    "less is claimed": (archive(header((1,)) + b"00000000"), "claims 4 bytes and has 8"),
    "a bomb": (saved(np.savez_compressed, a=np.zeros(10 * MAX_BYTES, dtype=np.uint8)), "holds 10.0 MiB, at most 1.0"),
    "many small members": (saved(**{f"a{i}": np.zeros(1 << 10) for i in range(200)}), "at most 1.0 are taken"),
    "too many members": (archive(b"", copies=MOST_MEMBERS + 1), f"at most {MOST_MEMBERS} are taken"),
    "objects": (saved(a=np.array([{"a": 1}], dtype=object)), "holds Python objects"),
    "nested objects": (archive(header((1,), [("a", "O")]) + bytes(8)), "holds Python objects"),
    "negative sizes": (archive(header((-1, -1)) + b"0000"), "no array of numbers has"),
    "beyond 64 bits": (archive(header((0, 1 << 70))), "no array of numbers has"),
    "items of no size": (archive(header((1 << 50,), "<U0")), "no array of numbers has"),
    "no shape": (archive(header("'x'")), "not valid"),
    "a nested header": (archive(header("-" * 9000 + "1")), "no archive of arrays"),
    "a long header": (archive(header((1,), version=2, padding=50_000) + b"0000"), "is large"),
    "no magic": (archive(b"what"), "magic"),
    "a new version": (archive(header((1,), version=3) + b"0000"), "version of NumPy's format"),
    "another file": (archive(b"text", "readme.txt"), "is no array"),
    "encrypted": (encrypted(), "is encrypted"),
    "another compression": (archive(header((1,)) + b"0000", compression=zipfile.ZIP_LZMA), "compressed in a way"),
    "one name for two": (same_name_twice(), "the same name"),
    "broken": (broken_stream(), "no archive of arrays"),
    "understated": (understated(), "Bad CRC-32"),
    "cut": (saved(a=np.zeros(100))[:-30], "does not end as such archives do"),
    "empty": (b"", "does not end as such archives do"),
    "a single array": (header((1,)) + b"0000", "does not end as such archives do"),
    "a long list of members": (
        b"PK\x05\x06" + bytes(8) + struct.pack("<II", LARGEST_DIRECTORY + 1, 0) + bytes(2),
        "list of members",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_claimed_is_checked_before_it_is_allocated(case):
    data, said = CASES[case]
    tracemalloc.start()
    try:
        with pytest.raises(InvalidData, match=said):
            read_npz(data, most=MAX_BYTES)
        assert tracemalloc.get_traced_memory()[1] < 12 * MAX_BYTES
    finally:
        tracemalloc.stop()


def test_files_are_named_and_pipes_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    for name, said in (("pipe.npz", "no regular file"), ("none.npz", "No such file")):
        with pytest.raises(InvalidData, match=f"{name} is no archive of arrays.*{said}"):
            read_npz(tmp_path / name, most=MAX_BYTES)
