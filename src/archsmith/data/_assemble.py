"""Turn the collection of a source into three checked splits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsmith.data._labels import number
from archsmith.data._texts import TextData, text_data
from archsmith.data.base import SPLITS, Collection, Data, OnProgress, Pixels, Split, Tokens
from archsmith.errors import InvalidData, InvalidOption

SIDES = (4, 1024)  # range of --resize in pixels
MADE_SHARE = 0.2  # of the training images, for each missing split ...
MADE_AT_MOST = 5000  # ... but no more than this
_CHUNK = 4096

Codes = NDArray[np.int8]
Labels = NDArray[np.int64]


def assemble_splits(
    found: Collection, spec: str, *, resize: int | None, seed: int, limit: int | None, on_progress: OnProgress | None
) -> Data | TextData:
    """Number the labels, make missing splits, keep ``limit`` images or texts, read them, check and normalise.

    Raises:
        InvalidData: for data that cannot be trained or judged on.
        InvalidOption: for ``resize`` or ``limit`` out of range.
    """
    if seed < 0:
        raise InvalidOption(f"seed must be 0 or more, got {seed}")
    if resize is not None and not SIDES[0] <= resize <= SIDES[1]:
        raise InvalidOption(f"resize must lie in {SIDES[0]}..{SIDES[1]} pixels, got {resize}")
    if len(found.labels) == 0:
        raise InvalidData(f"{spec!r} holds no {found.noun}s")
    labels, classes, label_notes = number(found.labels, found.splits, found.classes, spec, found.noun)
    given_notes = _check_given(labels, found.splits, classes, spec, found.noun)
    splits, made = with_all_splits(labels, found.splits, classes, spec, seed, found.noun)
    kept = np.arange(len(labels)) if limit is None else limited(labels, splits, limit, seed, found.noun)
    loaded = found.load(kept, resize=resize, on_progress=on_progress)
    made_notes = [
        f"{SPLITS[code]}: {(splits[kept] == code).sum():,} {found.noun}s taken from train (stratified, seed {seed})"
        for code in made
    ]
    notes = (*found.notes, *label_notes, *given_notes, *made_notes)
    places = [np.flatnonzero(splits[kept] == code) for code in range(3)]
    if isinstance(loaded, Tokens):
        ids = loaded.inputs["input_ids"]
        twice = duplicates([ids[at] for at in places], found.noun, "token for token")
        return text_data(loaded, labels[kept], places, classes, _once(*loaded.notes, *notes, *twice))
    return _image_data(loaded, labels[kept], places, classes, notes, found, spec)


def _image_data(
    images: Pixels,
    labels: Labels,
    places: list[NDArray[np.intp]],
    classes: tuple[str, ...],
    notes: tuple[str, ...],
    found: Collection,
    spec: str,
) -> Data:
    if min(images.shape[2:]) < SIDES[0]:
        raise InvalidData(
            f"images of {spec!r} have {images.shape[2]}x{images.shape[3]} pixels; {SIDES[0]} is the least"
        )
    train, val, test = (Split(images[at], labels[at]) for at in places)
    mean, std = found.normalisation or channel_statistics(train.images)
    _check_normalisation(mean, std, images.shape[1], spec)
    return Data(
        train, val, test, classes, mean, std, _once(*notes, *duplicates([p.images for p in (train, val, test)]))
    )


def _once(*notes: str) -> tuple[str, ...]:
    """Notes without repetitions: data that were opened before have notes already."""
    return tuple(dict.fromkeys(notes))


def with_all_splits(
    labels: Labels, splits: Codes, classes: tuple[str, ...], spec: str, seed: int, noun: str = "image"
) -> tuple[Codes, list[int]]:
    """Split codes ``(n,)`` where val and test exist, and those of the splits that had to be made.

    Raises:
        InvalidData: for a class with too few training images.
    """
    missing = [code for code in (1, 2) if not (splits == code).any()]
    train = np.flatnonzero(splits == 0)
    counts = np.bincount(labels[train], minlength=len(classes))
    if counts.min() < 2 + len(missing):
        reason = f", from which {' and '.join(SPLITS[code] for code in missing)} are taken too" if missing else ""
        raise InvalidData(
            f"class {classes[counts.argmin()]!r} has {counts.min()} training {noun}s in {spec!r}; "
            f"{2 + len(missing)} are the least{reason}"
        )
    if not missing:
        return splits, []
    share = min(MADE_SHARE, MADE_AT_MOST / len(train))
    splits = splits.copy()
    for label in range(len(classes)):
        rng = np.random.default_rng([seed, label])
        members = rng.permutation(train[labels[train] == label])
        size = min(max(1, round(share * len(members))), (len(members) - 2) // len(missing))
        for position, code in enumerate(missing):
            splits[members[position * size : (position + 1) * size]] = code
    return splits, missing


def limited(labels: Labels, splits: Codes, limit: int, seed: int, noun: str = "image") -> NDArray[np.intp]:
    """At most ``limit`` positions, ascending: in proportion to splits and classes, at least two of each.

    Raises:
        InvalidOption: when ``limit`` is too small for that.
    """
    cells, cell = np.unique(labels * 3 + splits, return_inverse=True)
    counts = np.bincount(cell)
    least = np.minimum(counts, 2)
    if limit < least.sum():
        raise InvalidOption(f"limit={limit} is too small for two {noun}s of every class in each split: {least.sum()}")
    wanted = (counts - least) * min(1.0, (limit - least.sum()) / max(1, (counts - least).sum()))
    sizes = least + np.floor(wanted).astype(int)
    spare = min(limit, len(labels)) - sizes.sum()
    sizes[np.argsort(np.floor(wanted) - wanted, kind="stable")[:spare]] += 1
    rng = np.random.default_rng([seed, len(cells)])
    chosen = [rng.permutation(np.flatnonzero(cell == i))[:size] for i, size in enumerate(sizes)]
    return np.sort(np.concatenate(chosen))


def channel_statistics(images: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, of ``uint8`` images scaled to 0..1; 1 where a channel is constant."""
    # Whole numbers add up exactly, so that the figures, and with them the fingerprint, are the same on every machine.
    dtype, scale = (np.int64, 255.0) if images.dtype == np.uint8 else (np.float64, 1.0)
    sums = np.zeros((2, images.shape[1]), dtype)
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK].astype(dtype)
        sums += np.stack([part.sum((0, 2, 3)), (part**2).sum((0, 2, 3))])
    mean, squares = sums / images[:, 0].size
    std = np.sqrt(np.maximum(squares - mean**2, 0)) / scale
    mean = mean / scale
    std = np.where(std > 1e-6 * np.maximum(1, np.abs(mean)), std, 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())


def _check_normalisation(mean: tuple[float, ...], std: tuple[float, ...], channels: int, spec: str) -> None:
    if not len(mean) == len(std) == channels or not np.isfinite([*mean, *std]).all() or min(std) <= 0:
        raise InvalidData(
            f"{spec!r} gives mean={mean} and std={std} for {channels} channels; one finite number each, std above 0"
        )


def duplicates(parts: Sequence[NDArray[Any]], noun: str = "image", same: str = "pixel for pixel") -> list[str]:
    """A note for every two splits that share images or texts (SemiOccam's CleanSTL-10 found such leaks).

    Args:
        parts: of train, val and test, one item a row.
        noun: what they are.
        same: in which way they are the same.
    """
    digests = [[hashlib.blake2b(item.tobytes(), digest_size=16).digest() for item in part] for part in parts]
    notes = []
    for later, earlier in ((1, 0), (2, 0), (2, 1)):
        known = set(digests[earlier])
        if shared := sum(digest in known for digest in digests[later]):
            items = f"1 {noun}" if shared == 1 else f"{shared:,} {noun}s"
            share = 100 * shared / len(parts[later])
            notes.append(
                f"{items} of {SPLITS[later]} ({share:.1f} %) also in {SPLITS[earlier]}, {same}: "
                "accuracy there is flattered"
            )
    return notes


def _check_given(labels: Labels, splits: Codes, classes: tuple[str, ...], spec: str, noun: str) -> list[str]:
    """Refuse val and test splits too small to judge on; a note for each that lacks a class."""
    notes = []
    for code in (1, 2):
        counts = np.bincount(labels[splits == code], minlength=len(classes))
        if 0 < counts.sum() < 2 * len(classes):
            raise InvalidData(
                f"the {SPLITS[code]} split of {spec!r} has {counts.sum()} {noun}s for {len(classes)} classes; two a "
                f"class are the least. Give more, or leave {SPLITS[code]} out: it is then taken from train"
            )
        if counts.sum() and len(absent := np.flatnonzero(counts == 0)):
            notes.append(f"{SPLITS[code]} has no {noun} of {', '.join(classes[i] for i in absent)}")
    return notes
