"""Where images and labels come from, one format a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from archsmith.errors import InvalidData, unknown
from archsmith.method import load, names

if TYPE_CHECKING:
    from archsmith.data.base import Data, OnProgress

ROLE = "read training, validation and test splits"

__all__ = ["ROLE", "open_data"]


def open_data(
    spec: str | Path,
    *,
    resize: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    on_progress: OnProgress | None = None,
) -> Data:
    """Read data into memory as three checked splits.

    Splits that are missing are taken from the training images: stratified, and reproducible from ``seed``.

    Args:
        spec: a built-in name (``digits``), a folder of images, an ``.npz`` file, a ``.parquet`` file or a folder of
            them, or ``module:factory``.
        resize: side of the square that every image becomes, in pixels; the aspect ratio is not kept.
        seed: for the splits that have to be made and for ``limit``.
        limit: at most so many images over all splits, in proportion to splits and classes.
        on_progress: called with images read so far and images to read.

    Raises:
        UnknownName: when no source recognises ``spec``.
        InvalidData: for data that cannot be trained or judged on; the message says what to change.
        InvalidOption: for ``resize`` or ``limit`` out of range.
        MissingExtra: when the format needs a package that is not installed.

    >>> data = open_data("digits")
    >>> data.shape, len(data.classes), len(data.train)
    ((1, 8, 8), 10, 1079)
    """
    from archsmith.data._assemble import assemble

    spec = str(spec)
    sources = {name: load("data", name) for name in names("data")}
    for source in sources.values():
        if source.recognises(spec):
            collection = source().read(spec)
            return assemble(collection, spec, resize=resize, seed=seed, limit=limit, on_progress=on_progress)
    accepted = "; ".join(source.accepts for source in sources.values())
    if Path(spec).exists():
        raise InvalidData(f"{spec!r} is of no known format. Data can be: {accepted}")
    error = unknown("data", spec, [name for name, source in sources.items() if source.recognises(name)])
    raise type(error)(f"{error}; and no file or folder of that name exists. Data can be: {accepted}")
