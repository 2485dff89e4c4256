"""Arrays of images: layouts, number types, resizing, and the names under which they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from archsmith.data.base import SPLITS, Collection, Loader, OnProgress, Pixels
from archsmith.errors import InvalidData

ACCEPTED = "x_train, y_train and optionally x_val, y_val, x_test, y_test; or images, labels; or x, y"
_PAIRS = (("x", "y"), ("images", "labels"))
_CHANNELS = (1, 3, 4)
_CHUNK = 4096


def collection_of(arrays: Mapping[str, Any], origin: str) -> Collection:
    """The collection that named arrays stand for.

    Raises:
        InvalidData: when names, shapes or number types are not among the accepted ones.
    """
    images, labels, splits = [], [], []
    for code, (x, y) in enumerate(_names(arrays, origin)):
        if x in arrays and y in arrays:
            pixels, values = as_pixels(arrays[x], f"{x} of {origin}"), _as_labels(arrays[y], f"{y} of {origin}")
            if len(pixels) != len(values):
                raise InvalidData(f"{origin} has {len(pixels)} images in {x} but {len(values)} labels in {y}")
            images.append(pixels)
            labels.append(values)
            splits.append(np.full(len(values), code, np.int8))
        elif x in arrays or y in arrays:
            raise InvalidData(f"{origin} has {x if x in arrays else y} without {y if x in arrays else x}")
    shapes = {i.shape[1:] for i in images}
    if len(shapes) > 1 or len({i.dtype for i in images}) > 1:
        found = ", ".join(f"{i.shape[1:]} {i.dtype}" for i in images)
        raise InvalidData(f"the splits of {origin} differ in (channels, height, width) or number type: {found}")
    return Collection(np.concatenate(labels), np.concatenate(splits), array_loader(np.concatenate(images)))


def array_loader(images: Pixels) -> Loader:
    """A loader of images ``(n, c, h, w)`` that are in memory already."""

    def load(chosen: NDArray[np.intp], *, resize: int | None, on_progress: OnProgress | None) -> Pixels:
        picked = images[chosen] if resize is None else _resized(images, chosen, resize)
        if on_progress is not None:
            on_progress(len(chosen), len(chosen))
        return picked

    return load


def as_pixels(array: Any, what: str) -> Pixels:
    """Any array of images as ``(n, c, h, w)``, ``uint8`` where its numbers are whole and in 0..255.

    Raises:
        InvalidData: for another rank, an ambiguous layout, or numbers that are not real and finite.
    """
    images = np.asarray(array)
    if images.dtype == bool:
        images = images.astype(np.uint8) * np.uint8(255)
    if images.dtype.kind not in "iuf":
        raise InvalidData(f"{what} holds {images.dtype} values; images are arrays of integers or floats")
    images = np.moveaxis(images, *_moves(images.shape, what)) if images.ndim == 4 else images[:, None, ...]
    images = np.ascontiguousarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise InvalidData(
            f"{what} has the shape {np.shape(array)}; images are (n, h, w), (n, c, h, w) or (n, h, w, c), none 0"
        )
    if images.dtype.kind in "iu" and images.min() >= 0 and images.max() <= 255:
        return images.astype(np.uint8, copy=False)
    images = images.astype(np.float32, copy=False)
    if not (good := np.isfinite(images).all(axis=(1, 2, 3))).all():
        bad = np.flatnonzero(~good)
        raise InvalidData(
            f"{what} has NaN or infinite pixels in {len(bad)} images, the first at {bad[0]}; remove or repair them"
        )
    return images


def _names(arrays: Mapping[str, Any], origin: str) -> list[tuple[str, str]]:
    """Names of images and labels of train, val and test."""
    for x, y in _PAIRS:
        if x in arrays and y in arrays:
            return [(x, y)]
    names = [(f"x_{split}", f"y_{split}") for split in SPLITS]
    if names[0][0] not in arrays and names[0][1] not in arrays:
        raise InvalidData(f"{origin} has the arrays {', '.join(arrays) or 'none'}; needed are {ACCEPTED}")
    return names


def _as_labels(array: Any, what: str) -> NDArray[Any]:
    labels = np.asarray(array)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InvalidData(f"{what} has the shape {labels.shape}; labels are (n,): one-hot rows become so by .argmax(1)")
    return labels


def _moves(shape: tuple[int, ...], what: str) -> tuple[int, int]:
    """Axis to move, and where to, so that ``(n, c, h, w)`` results."""
    _, a, b, c = shape
    first, last = (a in _CHANNELS, c in _CHANNELS) if (a in _CHANNELS) != (c in _CHANNELS) else (b == c, a == b)
    if first == last and not (a == b == c):
        raise InvalidData(f"cannot tell where the channels of {what} are, shape {shape}; give it as (n, c, h, w)")
    return (1, 1) if first else (3, 1)


def _resized(images: Pixels, chosen: NDArray[np.intp], side: int) -> Pixels:
    resized = np.empty((len(chosen), images.shape[1], side, side), images.dtype)
    for start in range(0, len(chosen), _CHUNK):
        part = torch.from_numpy(np.ascontiguousarray(images[chosen[start : start + _CHUNK]])).float()
        part = torch.nn.functional.interpolate(part, (side, side), mode="bilinear", antialias=True)
        resized[start : start + _CHUNK] = part.round() if images.dtype == np.uint8 else part
    return resized
