"""Encoded images (PNG, JPEG ...) to arrays: one colour mode and one size for all, decoded by several threads."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.data._memory import memory
from archsmith.data.base import Loader, OnProgress, Pixels
from archsmith.errors import InvalidData, require

Encoded = Path | bytes
_GREY_MODES = ("1", "L", "LA", "La")
_TURNED_VALUES = (5, 6, 7, 8)  # values of the EXIF orientation that swap width and height
_CHUNK = 512
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""Formats that are read: Pillow detects them by content, and would pass PostScript to a program that runs it."""
_DECODING_ERRORS: tuple[type[Exception], ...] = (
    *(OSError, ValueError, LookupError, ArithmeticError, SyntaxError, EOFError, TypeError, struct.error),
    *(AttributeError, MemoryError, RuntimeError, zlib.error),
)
"""Errors that Pillow raises for truncated or corrupted files."""


def encoded_loader(encoded: Callable[[int], Encoded], name: Callable[[int], str]) -> Loader:
    """A loader of images that are files or encoded bytes.

    All become grey where every image is grey, else RGB; transparency is dropped, the orientation that cameras
    write into photographs applied.

    Args:
        encoded: position -> a file, or the bytes of one.
        name: position -> what to call the image in messages.
    """
    pillow = require("PIL.Image", extra="data", purpose="Reading images")
    pillow.init()  # otherwise Pillow knows only some of the formats
    ops = require("PIL.ImageOps", extra="data", purpose="Reading images")

    def probe(position: int) -> tuple[bool, tuple[int, int]]:
        with _opened(pillow, encoded(position)) as image:
            turned = _may_be_turned(image) and image.getexif().get(274) in _TURNED_VALUES
            return _is_grey(image.mode), image.size[::-1] if not turned else image.size

    def load(chosen: NDArray[np.intp], *, resize: int | None, on_progress: OnProgress | None) -> Pixels:
        positions = chosen.tolist()
        probed = _each(probe, positions, name, lambda _: None)
        grey = all(is_grey for is_grey, _ in probed)
        height, width = (resize, resize) if resize else _one_size([size for _, size in probed], positions, name)
        images = _allocate((len(positions), 1 if grey else 3, height, width))

        def decode(place: int) -> None:
            with _opened(pillow, encoded(positions[place])) as image:
                upright = _in_mode(ops.exif_transpose(image) if _may_be_turned(image) else image, grey=grey)
                if upright.size != (width, height):
                    upright = upright.resize((width, height), pillow.Resampling.BILINEAR)
                images[place] = np.asarray(upright).reshape(height, width, -1).transpose(2, 0, 1)

        def report(done: int) -> None:
            if on_progress is not None:
                on_progress(done, len(positions))

        _each(decode, range(len(positions)), lambda place: name(positions[place]), report)
        return images

    return load


def _opened(pillow: Any, source: Encoded) -> Any:
    return pillow.open(
        io.BytesIO(source) if isinstance(source, bytes) else source, formats=[f for f in _FORMATS if f in pillow.OPEN]
    )


def _may_be_turned(image: Any) -> bool:
    """Whether EXIF data may turn the image. Not PNG: cameras write none, and Pillow would decode all of it."""
    return bool(image.format != "PNG")


def _is_grey(mode: str) -> bool:
    return mode in _GREY_MODES or mode.startswith("I;16")


def _in_mode(image: Any, *, grey: bool) -> Any:
    """The image in mode ``L`` or ``RGB``."""
    if image.mode in ("I", "F"):
        raise ValueError("has 32-bit pixels; save it with 8 bits a channel")
    if image.mode.startswith("I;16"):
        pillow = require("PIL.Image", extra="data", purpose="Reading images")
        image = pillow.fromarray((np.asarray(image) >> 8).astype(np.uint8))  # Pillow's conversion cuts off at 255
    if image.mode == "P":
        image = image.convert("RGBA")  # palettes may hold transparency that RGB cannot express
    return image.convert("L" if grey else "RGB")


def _each(
    work: Callable[[int], Any], items: Sequence[int], name: Callable[[int], str], report: Callable[[int], None]
) -> list[Any]:
    """``work`` of every item in order, by threads: Pillow decodes outside the interpreter's lock.

    Raises:
        InvalidData: naming the items that could not be read.
    """

    def safely(item: int) -> tuple[Any, str]:
        try:
            return work(item), ""
        except (*_DECODING_ERRORS, _bomb()) as error:
            return None, f"{name(item)} ({str(error) or type(error).__name__})"

    done: list[tuple[Any, str]] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(items), _CHUNK):
            done += pool.map(safely, items[start : start + _CHUNK])
            report(len(done))
    if bad := [reason for _, reason in done if reason]:
        raise InvalidData(
            f"{len(bad)} of {len(done)} images cannot be read: {'; '.join(bad[:3])}"
            f"{' ...' if len(bad) > 3 else ''}. Remove or repair them"
        )
    return [result for result, _ in done]


def _bomb() -> type[Exception]:
    error: type[Exception] = require("PIL.Image", extra="data", purpose="Reading images").DecompressionBombError
    return error


def _one_size(
    sizes: Sequence[tuple[int, int]], positions: Sequence[int], name: Callable[[int], str]
) -> tuple[int, int]:
    for size, position in zip(sizes, positions, strict=True):
        if size != sizes[0]:
            raise InvalidData(
                f"the images differ in size: {name(positions[0])} has {sizes[0][0]}x{sizes[0][1]} pixels (height x "
                f"width), {name(position)} has {size[0]}x{size[1]}; ask for one size with resize=N (--resize N)"
            )
    return sizes[0]


def _allocate(shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    needed, there = int(np.prod(shape, dtype=object)), memory()
    if needed > there / 2:
        raise InvalidData(
            f"{shape[0]:,} images of {shape[2]}x{shape[3]} pixels need {needed / 2**30:.1f} GiB of memory, "
            f"of which this machine has {there / 2**30:.1f}; make them smaller with resize=N or take fewer with limit=N"
        )
    return np.empty(shape, np.uint8)
