"""Arrays in NumPy's compressed files."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import final

import numpy as np

from archsmith.data._arrays import ACCEPTED, collection_of
from archsmith.data.base import Collection, DataSource
from archsmith.errors import InvalidData
from archsmith.method import OURS


@final
class Npz(DataSource):
    """An ``.npz`` file of images and labels; pickled objects are refused."""

    paper = OURS
    accepts = f"an .npz file with the arrays {ACCEPTED}"

    @classmethod
    def recognises(cls, spec: str) -> bool:
        """The extension."""
        return spec.lower().endswith(".npz")

    def read(self, spec: str) -> Collection:
        """Layouts ``(n, c, h, w)``, ``(n, h, w, c)`` and ``(n, h, w)``, told apart by their shape."""
        if not Path(spec).is_file():
            raise InvalidData(f"there is no file {spec!r}")
        try:
            with Path(spec).open("rb") as file:
                found = np.load(file, allow_pickle=False)
                if not isinstance(found, np.lib.npyio.NpzFile):
                    raise InvalidData(f"{spec!r} is a single array; write images and labels with numpy.savez")
                arrays = dict(found.items())
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise InvalidData(f"cannot read {spec!r} as .npz: {error}; write it with numpy.savez") from error
        except InvalidData:
            raise
        except ValueError as error:
            raise InvalidData(f"cannot read {spec!r}: {error}; arrays of numbers only, no pickled objects") from error
        return collection_of(arrays, repr(spec))
