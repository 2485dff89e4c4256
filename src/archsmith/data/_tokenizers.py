"""Texts to token ids: the tokenizers that users have, and how long their texts become."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.data.base import Loader, OnProgress, Tokens
from archsmith.errors import ArchsmithError, InvalidData, InvalidOption, require
from archsmith.files import read_bytes

DEFAULT_TOKENS = 128
"""Tokens that texts are cut to unless the user says otherwise."""
_PADDING = ("[PAD]", "<pad>", "<|endoftext|>", "</s>")
_CHUNK = 2048

Text = str | tuple[str, str]

LARGEST_TOKENIZER = 1 << 28
"""Largest tokenizer file in bytes; files for many languages have some tens of millions."""


def text_loader(texts: Callable[[int], Text], tokenizer: str | None, max_length: int, spec: str) -> Loader:
    """A loader of texts, or pairs of texts, by a tokenizer of the user's.

    All become as long as the longest, ``max_length`` at most; the rest is padding, with ``attention_mask`` 0.

    Args:
        texts: position -> text.
        tokenizer: a ``tokenizer.json``, a folder with one, or what transformers' ``AutoTokenizer`` loads.
        max_length: tokens, special ones included.
        spec: of the data, for messages.

    Raises:
        InvalidOption: for lengths out of range, and without a tokenizer.
    """
    check_length(max_length)
    if not tokenizer:
        raise InvalidOption(
            f"the data {spec!r} are texts and need the tokenizer of the network: give tokenizer=FOLDER or "
            "tokenizer=FILE.json (--data-option tokenizer=...), as save_pretrained writes it"
        )

    def load(chosen: NDArray[np.intp], *, resize: int | None, on_progress: OnProgress | None) -> Tokens:
        refuse_resize(resize, spec)
        encoder = _opened(tokenizer, max_length)
        rows: list[Any] = []
        for start in range(0, len(chosen), _CHUNK):
            rows += encoder.encode_batch([texts(i) for i in chosen[start : start + _CHUNK].tolist()])
            if on_progress is not None:
                on_progress(len(rows), len(chosen))
        names = ["input_ids"] + ["token_type_ids"] * any(any(r.type_ids) for r in rows)
        columns = {"input_ids": [r.ids for r in rows], "token_type_ids": [r.type_ids for r in rows]}
        padding = next((i for p in _PADDING if (i := encoder.token_to_id(p)) is not None), 0)
        cut = sum(bool(r.overflowing) for r in rows)
        return padded({name: columns[name] for name in names}, max_length, padding, encoder.get_vocab_size(), cut)

    return load


def padded(
    columns: Mapping[str, Sequence[Any]], max_length: int, padding: int, vocabulary: int, cut: int = 0
) -> Tokens:
    """Rows of any length as arrays of one.

    Args:
        columns: argument of the network -> rows of ids; ``input_ids`` is one of them.
        max_length: longer rows are cut, their last token kept: most networks want their end token there.
        padding: id that fills short rows of ``input_ids``.
        vocabulary: token ids are below this.
        cut: texts that the tokenizer has cut already.
    """
    lengths = np.array([len(row) for row in columns["input_ids"]])
    cut, tokens = cut + int((lengths > max_length).sum()), max(1, min(int(lengths.max()), max_length))
    inputs = {
        name: np.full((len(lengths), tokens), padding if name == "input_ids" else 0, np.int32) for name in columns
    }
    mask = np.zeros((len(lengths), tokens), np.int32)
    for name, rows in columns.items():
        for place, row in enumerate(rows):
            fitting = row if len(row) <= tokens else [*row[: tokens - 1], row[-1]]
            inputs[name][place, : len(fitting)] = fitting
            mask[place, : len(fitting)] = 1
    notes = (f"{cut:,} of {len(lengths):,} texts are longer than {max_length} tokens and were cut",) if cut else ()
    return Tokens({"input_ids": inputs["input_ids"], "attention_mask": mask} | inputs, vocabulary, notes)


def check_length(max_length: int) -> None:
    """Refuse a length out of range.

    Raises:
        InvalidOption: naming the range.
    """
    if isinstance(max_length, bool) or not isinstance(max_length, int) or not 2 <= max_length <= 2**16:
        raise InvalidOption(f"max_length must lie in 2..65536 tokens, got {max_length!r}")


def refuse_resize(resize: int | None, spec: str) -> None:
    """Refuse ``resize`` for data that are no images.

    Raises:
        InvalidOption: naming the data.
    """
    if resize is not None:
        raise InvalidOption(f"resize={resize} is for images, but {spec!r} holds texts; max_length is their size")


def _opened(tokenizer: str, max_length: int) -> Any:
    """The tokenizer in the form of the package ``tokenizers``, cutting at ``max_length`` and not padding."""
    path = Path(tokenizer)
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        if file.is_file():
            library = require("tokenizers", extra="zoo", purpose=f"The tokenizer {tokenizer!r}")
            found = library.Tokenizer.from_buffer(read_bytes(file, most=LARGEST_TOKENIZER))
        else:
            library = require("transformers", extra="zoo", purpose=f"The tokenizer {tokenizer!r}")
            found = library.AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)._tokenizer
    except ArchsmithError:
        raise
    except BaseException as error:  # tokenizers raises plain Exception, and a BaseException where Rust panics
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        said = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise InvalidData(
            f"cannot load the tokenizer {tokenizer!r}: {said}; give a tokenizer.json or a "
            "folder that tokenizer.save_pretrained(FOLDER) wrote"
        ) from error
    found.no_padding()
    found.enable_truncation(max_length)
    return found
