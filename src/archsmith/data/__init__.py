"""Where images, texts and their labels come from, one format a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsmith import trust
from archsmith.errors import InvalidData, unknown
from archsmith.method import check_options, load, names

if TYPE_CHECKING:
    from archsmith.data._texts import TextData
    from archsmith.data.base import Data, OnProgress

ROLE = "read training, validation and test splits"

__all__ = ["ROLE", "open_data"]


def open_data(
    spec: str | Path,
    *,
    resize: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> Data | TextData:
    """Read data into memory as three checked splits.

    Splits that are missing are taken from the training split: stratified, and reproducible from ``seed``.

    Args:
        spec: a built-in name (``digits``), a folder of images, an ``.npz`` file, a ``.parquet`` file or a folder of
            them, a ``.tsv`` or ``.csv`` file of texts or a folder of them, a folder of a Hugging Face data set, or
            ``module:factory``.
        resize: side of the square that every image becomes, in pixels; the aspect ratio is not kept.
        seed: for the splits that have to be made and for ``limit``.
        limit: at most so many images or texts over all splits, in proportion to splits and classes.
        options: of the format, such as ``{"tokenizer": "folder"}`` for texts.
        on_progress: called with images or texts read so far and to read.

    Raises:
        UnknownName: when no source recognises ``spec``.
        InvalidData: for data that cannot be trained or judged on; the message says what to change.
        InvalidOption: for ``resize`` or ``limit`` out of range, and for an option that the format does not have.
        MissingExtra: when the format needs a package that is not installed.
        Untrusted: when somebody else's file names them, unless they are built in.

    >>> data = open_data("digits")
    >>> data.shape, len(data.classes), len(data.train)
    ((1, 8, 8), 10, 1079)
    """
    from archsmith.data._assemble import assemble_splits

    spec = str(spec)
    sources = {name: load("data", name) for name in names("data")}
    built_in = spec in sources and sources[spec].recognises(spec)
    if not built_in or options:
        trust.refuse(f"open the data {spec}")
    for source in sources.values():
        if source.recognises(spec):
            check_options(source, options or {})
            collection = source(**(options or {})).read(spec)
            return assemble_splits(collection, spec, resize=resize, seed=seed, limit=limit, on_progress=on_progress)
    accepted = "; ".join(source.accepts for source in sources.values())
    if Path(spec).exists():
        raise InvalidData(f"{spec!r} is of no known format. Data can be: {accepted}")
    error = unknown("data", spec, [name for name, source in sources.items() if source.recognises(name)])
    raise type(error)(f"{error}; and no file or folder of that name exists. Data can be: {accepted}")
