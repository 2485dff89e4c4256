"""Columns of Arrow tables: encoded images, labels, and the class names that Hugging Face writes into the schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.data._images import encoded_loader
from archsmith.data._memory import memory
from archsmith.data.base import Collection
from archsmith.errors import InvalidData, require
from archsmith.files import misfit, parsed_json

_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\x00", b"MM\x00*", b"P5", b"P6")

Tables = Sequence[tuple[str, int, Any]]
"""Name for messages, split code and table of each file."""


def image_collection(arrow: Any, tables: Tables) -> Collection:
    """The collection of the tables' encoded images; images stay encoded until they are chosen.

    Raises:
        InvalidData: where columns of images or labels are missing or not clear.
    """
    columns = [(image_column(arrow, table, name), integer_label(arrow, table, name)) for name, _, table in tables]
    found = [labels_of(table, label) for (_, _, table), (_, label) in zip(tables, columns, strict=True)]
    images = [_encoded(arrow, table, image) for (_, _, table), (image, _) in zip(tables, columns, strict=True)]
    locate = locator([len(labels) for labels in found])

    def encoded(position: int) -> bytes:
        of, row = locate(position)
        value = images[of][row].as_py()
        if value is None:
            raise ValueError("is empty")
        return bytes(value)

    def name(position: int) -> str:
        of, row = locate(position)
        return f"row {row} of {tables[of][0]}"

    classes = class_names(tables[0][2], columns[0][1])
    return Collection(np.concatenate(found), split_codes(tables), encoded_loader(encoded, name), classes)


@contextmanager
def reading_arrow(arrow: Any, file: Path, form: str) -> Iterator[None]:
    """Turn Arrow's errors in this block into errors about the file.

    Raises:
        InvalidData: naming the file.
    """
    try:
        yield
    except (arrow.ArrowException, OSError, MemoryError, ValueError, TypeError) as error:
        if isinstance(error, InvalidData):
            raise
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise InvalidData(f"cannot read {file} as {form}: {said}") from error


def bounded_table(arrow: Any, schema: Any, batches: Iterable[Any], file: Path) -> Any:
    """The table of some batches, with every offset checked, if it fits into this machine's memory.

    Raises:
        InvalidData: where it is larger.
    """
    most, size, found = memory(), 0, []
    for batch in batches:
        size += batch.nbytes
        if size > most:
            raise InvalidData(f"{file} unpacks to more than the {most / 2**30:.1f} GiB of memory of this machine")
        found.append(batch)
    table = arrow.Table.from_batches(found, schema)
    table.validate(full=True)  # files that were made to cause reads beyond their end
    return table


def split_codes(tables: Tables) -> NDArray[np.int8]:
    """The split of every row."""
    return np.repeat([code for _, code, _ in tables], [len(table) for _, _, table in tables]).astype(np.int8)


def locator(lengths: Sequence[int]) -> Callable[[int], tuple[int, int]]:
    """Position among all rows -> number of the table, and row in it."""
    starts = np.cumsum([0, *lengths])

    def locate(position: int) -> tuple[int, int]:
        of = int(np.searchsorted(starts, position, side="right")) - 1
        return of, position - int(starts[of])

    return locate


def _encoded(arrow: Any, table: Any, column: str) -> Any:
    values = table.column(column)
    return arrow.compute.struct_field(values, "bytes") if arrow.types.is_struct(values.type) else values


def image_columns(arrow: Any, table: Any) -> list[str]:
    """Names of the columns of encoded images."""
    require("pyarrow.compute", extra="data", purpose="Reading tables of images")
    return [field.name for field in table.schema if _holds_images(arrow, table, field)]


def image_column(arrow: Any, table: Any, name: str) -> str:
    """The only column of encoded images."""
    found = image_columns(arrow, table)
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


def integer_label(arrow: Any, table: Any, name: str) -> str:
    """The column ``label``, or the only one of integers."""
    integers = [field.name for field in table.schema if arrow.types.is_integer(field.type)]
    if "label" in table.column_names:
        return "label"
    if len(integers) != 1:
        raise InvalidData(
            f"cannot tell which column of {name} holds the labels: {', '.join(integers) or 'none'} are integers; "
            "call it 'label'"
        )
    return str(integers[0])


def labels_of(table: Any, column: str) -> NDArray[Any]:
    """The values of a column of labels."""
    values = table.column(column)
    if values.null_count:
        raise InvalidData(f"column {column!r} has {values.null_count} rows without a label; remove or label them")
    return np.asarray(values.to_numpy())


def class_names(table: Any, column: str) -> tuple[str, ...] | None:
    """Class names that Hugging Face datasets write into the schema, where they are there."""
    try:
        features = parsed_json((table.schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
        return None if misfit(names, list[str]) else tuple(names)
    except (KeyError, TypeError, ValueError):
        return None
