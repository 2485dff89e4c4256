"""Tables of encoded images in Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

from archsmith.data._arrow import bounded_table, image_collection, reading_arrow
from archsmith.data._files import split_files
from archsmith.data.base import Collection, DataSource
from archsmith.errors import require
from archsmith.method import OURS

_ROWS = 256
"""How many rows are unpacked at a time: a file of a megabyte may repeat one image a million times."""


@final
class Parquet(DataSource):
    """A ``.parquet`` file, or a folder with ``train.parquet`` and optional ``val`` and ``test``.

    The column of encoded images is recognised by its content: bytes, or the ``{bytes, path}`` of Hugging Face
    datasets, whose shards (``train-00000-of-00002.parquet``) and class names are understood too. The labels are the
    column ``label``, or the only column of integers.
    """

    paper = OURS
    accepts = "a .parquet file or a folder of train.parquet, val.parquet, test.parquet with encoded images and labels"

    @classmethod
    def recognises(cls, spec: str) -> bool:
        """The extension, or a folder with such files."""
        return spec.lower().endswith(".parquet") or (Path(spec).is_dir() and any(Path(spec).glob("*.parquet")))

    def read(self, spec: str) -> Collection:
        """Labels at once; images stay encoded until they are chosen."""
        arrow = require("pyarrow", extra="data", purpose=f"The data {spec!r}")
        require("pyarrow.parquet", extra="data", purpose=f"The data {spec!r}")
        files = split_files(Path(spec), (".parquet",))
        return image_collection(arrow, [(name, code, _read(arrow, file)) for code, name, file in files])


def _read(arrow: Any, file: Path) -> Any:
    with reading_arrow(arrow, file, "Parquet"):
        if not file.is_file():
            raise FileNotFoundError("it is no file")
        with arrow.parquet.ParquetFile(file) as opened:
            return bounded_table(arrow, opened.schema_arrow, opened.iter_batches(_ROWS), file)
