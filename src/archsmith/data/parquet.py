"""Tables of encoded images in Parquet files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from archsmith.data._images import encoded_loader
from archsmith.data.base import SPLITS, Collection, DataSource
from archsmith.errors import InvalidData, require
from archsmith.method import OURS

_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\x00", b"MM\x00*", b"P5", b"P6")
_FILES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


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
        tables = [(name, code, _read(arrow, file)) for code, name, file in _files(Path(spec))]
        columns = [(_image_column(arrow, table, name), _label_column(arrow, table, name)) for name, _, table in tables]
        labels = [_labels(table, label) for (_, _, table), (_, label) in zip(tables, columns, strict=True)]
        images = [_encoded(arrow, table, image) for (_, _, table), (image, _) in zip(tables, columns, strict=True)]
        starts = np.cumsum([0, *map(len, labels)])
        splits = np.repeat([code for _, code, _ in tables], list(map(len, labels))).astype(np.int8)

        def locate(position: int) -> tuple[int, int]:
            of = int(np.searchsorted(starts, position, side="right")) - 1
            return of, position - int(starts[of])

        def encoded(position: int) -> bytes:
            of, row = locate(position)
            value = images[of][row].as_py()
            if value is None:
                raise ValueError("is empty")
            return bytes(value)

        def name(position: int) -> str:
            of, row = locate(position)
            return f"row {row} of {tables[of][0]}"

        classes = _class_names(tables[0][2], columns[0][1])
        return Collection(np.concatenate(labels), splits, encoded_loader(encoded, name), classes)


def _files(path: Path) -> list[tuple[int, str, Path]]:
    """Split code, name for messages, and file."""
    if not path.exists():
        raise InvalidData(f"there is no file {str(path)!r}")
    if path.is_file():
        return [(0, path.name, path)]
    found = [
        (code, file.name, file)
        for code, split in enumerate(SPLITS)
        for file in sorted(path.glob("*.parquet"))
        if file.stem.partition("-")[0].lower() in _FILES[split]
    ]
    if not any(code == 0 for code, _, _ in found):
        names = ", ".join(sorted(f.name for f in path.glob("*.parquet")))
        raise InvalidData(f"{path} has {names} but no train.parquet; name the training table so")
    return found


def _read(arrow: Any, file: Path) -> Any:
    try:
        return arrow.parquet.read_table(file)
    except (arrow.ArrowException, OSError) as error:
        raise InvalidData(f"cannot read {file} as Parquet: {str(error).splitlines()[0]}") from error


def _encoded(arrow: Any, table: Any, column: str) -> Any:
    values = table.column(column)
    return arrow.compute.struct_field(values, "bytes") if arrow.types.is_struct(values.type) else values


def _image_column(arrow: Any, table: Any, name: str) -> str:
    require("pyarrow.compute", extra="data", purpose="Reading Parquet files")
    found = [field.name for field in table.schema if _holds_images(arrow, table, field)]
    if len(found) != 1:
        described = ", ".join(f"{field.name} ({field.type})" for field in table.schema)
        raise InvalidData(
            f"{name} has {'no column' if not found else f'{len(found)} columns'} of encoded images (PNG or JPEG bytes, "
            f"or {{bytes, path}}); its columns are {described}. Keep exactly one"
        )
    return str(found[0])


def _holds_images(arrow: Any, table: Any, field: Any) -> bool:
    types, kind = arrow.types, field.type
    if types.is_struct(kind):
        if kind.get_field_index("bytes") < 0:
            return False
        kind = kind.field("bytes").type
    if not (types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)):
        return False
    first = _encoded(arrow, table, field.name).drop_null().slice(0, 1).to_pylist()
    return bool(first) and first[0].startswith(_SIGNATURES)


def _label_column(arrow: Any, table: Any, name: str) -> str:
    integers = [field.name for field in table.schema if arrow.types.is_integer(field.type)]
    if "label" in table.column_names:
        return "label"
    if len(integers) != 1:
        raise InvalidData(
            f"cannot tell which column of {name} holds the labels: {', '.join(integers) or 'none'} are integers; "
            "call it 'label'"
        )
    return str(integers[0])


def _labels(table: Any, column: str) -> NDArray[Any]:
    values = table.column(column)
    if values.null_count:
        raise InvalidData(f"column {column!r} has {values.null_count} rows without a label; remove or label them")
    return np.asarray(values.to_numpy())


def _class_names(table: Any, column: str) -> tuple[str, ...] | None:
    """Class names that Hugging Face datasets write into the schema, where they are there."""
    try:
        features = json.loads((table.schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[column]["names"]))
    except (KeyError, TypeError, ValueError):
        return None
