"""Tables of encoded images in Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

from archsmith.data._arrow import image_collection
from archsmith.data._files import split_files
from archsmith.data.base import Collection, DataSource
from archsmith.errors import InvalidData, require
from archsmith.method import OURS


@final
class Parquet(DataSource):
    """A ``.parquet`` file, or a folder with ``train.parquet`` and optional ``val`` and ``test``.

    The column of encoded images is found by its content: bytes, or the ``{bytes, path}`` of Hugging Face
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
    try:
        return arrow.parquet.read_table(file)
    except (arrow.ArrowException, OSError) as error:
        raise InvalidData(f"cannot read {file} as Parquet: {str(error).splitlines()[0]}") from error
