"""Hugging Face datasets on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict, final

import numpy as np

from archsmith.data._arrow import (
    bounded_table,
    class_names,
    image_collection,
    image_columns,
    labels_of,
    locator,
    reading_arrow,
    split_codes,
)
from archsmith.data._columns import label_column, text_columns
from archsmith.data._files import split_code
from archsmith.data._tokenizers import DEFAULT_TOKENS, Text, check_length, padded, refuse_resize, text_loader
from archsmith.data.base import Collection, DataSource, Loader, OnProgress, Tokens
from archsmith.errors import InvalidData, require
from archsmith.files import read_json
from archsmith.method import Paper

_INPUTS = ("input_ids", "token_type_ids")


class _Splits(TypedDict):
    """``dataset_dict.json``."""

    splits: NotRequired[list[str]]


class _DataFile(TypedDict):
    filename: str


class _State(TypedDict):
    """``state.json`` of a split."""

    _data_files: NotRequired[list[_DataFile]]
    _indices_data_files: NotRequired[list[Any] | None]


@final
class HfDataset(DataSource):
    """A folder that ``save_to_disk`` of Hugging Face ``datasets`` wrote: images, texts, or texts tokenised before.

    The Arrow files are read as they are, so that the package itself is not needed. Splits are those of a
    ``DatasetDict``; a single ``Dataset`` is split. Columns of images are recognised by their content. A column
    ``input_ids`` is used as it is unless ``tokenizer`` is given.

    Args:
        tokenizer: of the network: a ``tokenizer.json``, a folder with one, or what transformers' AutoTokenizer loads.
        text: column of the texts, or two of them for pairs; found by its name unless given.
        label: column of the labels.
        max_length: tokens that texts are cut to, special ones included.
    """

    paper = Paper(
        authors="Lhoest, Quentin and others",
        title="Datasets: A Community Library for Natural Language Processing",
        year=2021,
        venue="EMNLP: System Demonstrations",
        arxiv="2109.02846",
    )
    accepts = "a folder that save_to_disk of Hugging Face datasets wrote (and tokenizer= for texts)"

    def __init__(
        self,
        *,
        tokenizer: str | None = None,
        text: str | Sequence[str] | None = None,
        label: str | None = None,
        max_length: int = DEFAULT_TOKENS,
    ) -> None:
        self.tokenizer, self.text, self.label, self.max_length = tokenizer, text, label, max_length

    @classmethod
    def recognises(cls, spec: str) -> bool:
        """The files in which ``save_to_disk`` describes what it wrote."""
        return (Path(spec) / "dataset_dict.json").is_file() or (Path(spec) / "state.json").is_file()

    def read(self, spec: str) -> Collection:
        """Labels at once; images, texts and token ids stay in the file until they are chosen."""
        arrow = require("pyarrow", extra="data", purpose=f"The data {spec!r}")
        require("pyarrow.ipc", extra="data", purpose=f"The data {spec!r}")
        folders, notes = _splits(Path(spec))
        tables = [(folder.name, code, _table(arrow, folder)) for code, folder in folders]
        first = tables[0][2]
        if self.label is None and image_columns(arrow, first):
            found = image_collection(arrow, tables)
            return Collection(found.labels, found.splits, found.load, found.classes, notes=notes)
        columns = [label_column(self.label, table.column_names, name) for name, _, table in tables]
        labels = [labels_of(table, column) for (_, _, table), column in zip(tables, columns, strict=True)]
        return Collection(
            np.concatenate(labels),
            split_codes(tables),
            self._loader(arrow, tables, spec),
            class_names(first, columns[0]),
            notes=notes,
            noun="text",
        )

    def _loader(self, arrow: Any, tables: Sequence[tuple[str, int, Any]], spec: str) -> Loader:
        if self.tokenizer is None and all("input_ids" in table.column_names for _, _, table in tables):
            check_length(self.max_length)
            return _tokenised([table for _, _, table in tables], self.max_length, spec)
        chosen = []
        for name, _, table in tables:
            holding = [f.name for f in table.schema if _is_text(arrow, f.type)]
            chosen.append([table.column(c) for c in text_columns(self.text, holding, self.label, name)])
        locate = locator([len(table) for _, _, table in tables])

        def text(position: int) -> Text:
            of, row = locate(position)
            found = [column[row].as_py() for column in chosen[of]]
            if None in found:
                raise InvalidData(f"row {row} of {tables[of][0]} in {spec!r} has no text; remove it or give it one")
            return found[0] if len(found) == 1 else (found[0], found[1])

        return text_loader(text, self.tokenizer, self.max_length, spec)


def _tokenised(tables: Sequence[Any], max_length: int, spec: str) -> Loader:
    """A loader of token ids that are in the tables already."""
    locate = locator([len(table) for table in tables])
    names = [name for name in _INPUTS if all(name in table.column_names for table in tables)]

    def load(chosen: Any, *, resize: int | None, on_progress: OnProgress | None) -> Tokens:
        refuse_resize(resize, spec)
        places = [locate(position) for position in chosen.tolist()]
        columns = {name: [tables[of].column(name)[row].as_py() for of, row in places] for name in names}
        if any(not row for row in columns["input_ids"]):
            raise InvalidData(f"a row of input_ids in {spec!r} is empty; remove it")
        if on_progress is not None:
            on_progress(len(places), len(places))
        return padded(columns, max_length, 0, 1 + max(max(row) for row in columns["input_ids"]))

    return load


def _splits(root: Path) -> tuple[list[tuple[int, Path]], tuple[str, ...]]:
    """Split code and folder of each split, and a note on splits with other names.

    Raises:
        InvalidData: where there is none for training.
    """
    if not (root / "dataset_dict.json").is_file():
        return [(0, root)], ()
    about: _Splits = read_json(root / "dataset_dict.json", what="the splits of a data set", form=_Splits)
    names = about.get("splits", [])
    known = [(code, _below(root, name)) for name in names if (code := split_code(name)) is not None]
    if not any(code == 0 for code, _ in known):
        raise InvalidData(f"{root} has the splits {', '.join(names) or 'none'} but no 'train'; name one so")
    left = [name for name in names if split_code(name) is None]
    notes = (f"the splits {', '.join(left)} were not read: splits are train, validation and test",) if left else ()
    return sorted(known), notes


def _table(arrow: Any, folder: Path) -> Any:
    """The rows of one split.

    Raises:
        InvalidData: for files that are missing or cannot be read, and for rows that are listed elsewhere.
    """
    state: _State = read_json(folder / "state.json", what="a split of a data set", form=_State)
    if state.get("_indices_data_files"):
        raise InvalidData(f"{folder} lists its rows in another file; write it with flatten_indices().save_to_disk()")
    files = [_below(folder, entry["filename"]) for entry in state.get("_data_files", [])]
    if not files:
        raise InvalidData(f"{folder} has no rows; its state.json names no data files")
    tables = []
    for file in files:
        with reading_arrow(arrow, file, "Arrow"):
            if not file.is_file():
                raise FileNotFoundError("it is no file")
            with arrow.memory_map(str(file)) as source:
                stream = arrow.ipc.open_stream(source)
                tables.append(bounded_table(arrow, stream.schema, stream, file))
    with reading_arrow(arrow, folder, "Arrow"):
        return arrow.concat_tables(tables)


def _below(folder: Path, name: str) -> Path:
    """The path of ``name`` in a data set; it must lie in the data set's folder.

    Raises:
        InvalidData: for a path that leads elsewhere.
    """
    if not name or name in (".", "..") or Path(name).name != name or "\0" in name:
        raise InvalidData(f"{folder} names {name!r}; files and splits of a data set lie in its own folder")
    return folder / name


def _is_text(arrow: Any, kind: Any) -> bool:
    return bool(arrow.types.is_string(kind) or arrow.types.is_large_string(kind))
