"""Tables of texts and labels in TSV and CSV files."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np

from archsmith.data._columns import label_column, text_columns
from archsmith.data._files import split_code, split_files
from archsmith.data._tokenizers import DEFAULT_TOKENS, Text, text_loader
from archsmith.data.base import Collection, DataSource
from archsmith.errors import InvalidData
from archsmith.method import OURS

_SUFFIXES = (".tsv", ".csv")


@final
class TextTable(DataSource):
    """A ``.tsv`` or ``.csv`` file of texts and labels, or a folder with ``train.tsv``, optional ``dev`` and ``test``.

    The first line names the columns. A TSV file has no quoting, as in GLUE; a CSV file is quoted by ``"``.

    Args:
        tokenizer: of the network: a ``tokenizer.json``, a folder with one, or what transformers' AutoTokenizer loads.
        text: column of the texts, or two of them for pairs; found by its name unless given.
        label: column of the labels.
        max_length: tokens that texts are cut to, special ones included.
    """

    paper = OURS
    accepts = "a .tsv or .csv file or a folder of train.tsv, dev.tsv, test.tsv with texts and labels (and tokenizer=)"

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
        """The extension, or a folder with such a training table."""
        if Path(spec).is_dir():
            return any(split_code(f.stem) == 0 for suffix in _SUFFIXES for f in Path(spec).glob(f"*{suffix}"))
        return spec.lower().endswith(_SUFFIXES)

    def read(self, spec: str) -> Collection:
        """Texts and labels at once; tokens when they are chosen."""
        texts: list[Text] = []
        labels: list[str] = []
        splits: list[int] = []
        for code, name, file in split_files(Path(spec), _SUFFIXES):
            header, rows = _read(file)
            columns = [header.index(c) for c in text_columns(self.text, header, self.label, name)]
            label = header.index(label_column(self.label, header, name))
            labels += [row[label] for row in rows]
            texts += [row[columns[0]] if len(columns) == 1 else (row[columns[0]], row[columns[1]]) for row in rows]
            splits += [code] * len(rows)
        load = text_loader(texts.__getitem__, self.tokenizer, self.max_length, spec)
        whole = all(re.fullmatch(r"-?\d{1,18}", value) for value in labels)
        values = np.array([int(v) for v in labels]) if whole else np.array(labels)
        return Collection(values, np.array(splits, np.int8), load, noun="text")


def _read(file: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows.

    Raises:
        InvalidData: naming the line that cannot be read.
    """
    tab = file.suffix.lower() == ".tsv"
    rows: list[list[str]] = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(
                opened, delimiter="\t" if tab else ",", quoting=csv.QUOTE_NONE if tab else csv.QUOTE_MINIMAL
            )
            header = next(reader, [])
            for row in reader:
                if row and len(row) != len(header):
                    raise InvalidData(
                        f"line {reader.line_num} of {file} has {len(row)} fields, its header {len(header)} "
                        f"({', '.join(header)}); {'tabs' if tab else 'commas'} inside a text are the usual reason"
                    )
                if row:
                    rows.append(row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidData(f"cannot read {file} after {len(rows)} rows: {error}; save it as UTF-8") from error
    if not header:
        raise InvalidData(f"{file} is empty; its first line must name the columns")
    return header, rows
