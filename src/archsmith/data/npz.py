"""Arrays in NumPy's compressed files."""

from __future__ import annotations

from pathlib import Path
from typing import final

from archsmith.data._arrays import ACCEPTED, collection_of
from archsmith.data._memory import memory
from archsmith.data.base import Collection, DataSource
from archsmith.errors import InvalidData
from archsmith.method import OURS
from archsmith.npz import read_npz

_NPY_MAGIC = b"\x93NUMPY"
_ALWAYS_ALLOWED, _MOST_TIMES = 2**30, 100
"""Bytes that any file may unpack to, and how many times a larger one may grow: images grow 2 to 20 times."""


@final
class Npz(DataSource):
    """An ``.npz`` file of images and labels; pickled objects are refused.

    So are files that do not fit into this machine's memory, and those that unpack to more than 1 GiB and 100 times
    their size.
    """

    paper = OURS
    accepts = f"an .npz file with the arrays {ACCEPTED}"

    @classmethod
    def recognises(cls, spec: str) -> bool:
        """The extension."""
        return spec.lower().endswith(".npz")

    def read(self, spec: str) -> Collection:
        """Layouts ``(n, c, h, w)``, ``(n, h, w, c)`` and ``(n, h, w)``, told apart by their shape."""
        path = Path(spec)
        if not path.is_file():
            raise InvalidData(f"there is no file {spec!r}")
        try:
            with path.open("rb") as file:
                single = file.read(len(_NPY_MAGIC)) == _NPY_MAGIC
            most = min(memory(), max(_ALWAYS_ALLOWED, _MOST_TIMES * path.stat().st_size))
        except OSError as error:
            raise InvalidData(f"cannot read {spec!r}: {error.strerror}") from error
        if single:
            raise InvalidData(f"{spec!r} is a single array; write images and labels with numpy.savez")
        try:
            arrays = read_npz(path, most=most)
        except InvalidData as error:
            raise InvalidData(
                f"cannot read {spec!r} as .npz: {error}; arrays of numbers or text only, no pickled objects, written "
                "with numpy.savez, which does not pack them, where they are packed more than 100 times"
            ) from error
        return collection_of(arrays, repr(spec))
